/** Builds elements. Text is never parsed as markup. */

const SVG = "http://www.w3.org/2000/svg";

/** Creates an element. `on` has listeners, `data` the dataset; others are attributes. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) set(element, name, value);
  append(element, children);
  return element;
}

function set(element, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (name === "on") {
    for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
  } else if (name === "data") {
    Object.assign(element.dataset, value);
  } else if (name in element && typeof value !== "string") {
    element[name] = value;
  } else {
    element.setAttribute(name, value === true ? "" : value);
  }
}

/** Appends children; skips null, undefined and false. */
export function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) parent.append(child);
  }
  return parent;
}

/** Replaces the children. */
export function fill(parent, ...children) {
  parent.replaceChildren();
  return append(parent, children);
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Creates a button; `kind` is primary, quiet or danger. */
export function button(label, { kind = "quiet", glyph, ...props } = {}) {
  return h("button", { type: "button", class: `button ${kind}`, ...props }, glyph && icon(glyph), h("span", {}, label));
}

/** Shows a message for five seconds. */
export function notify(text) {
  const message = h("p", { class: "note" }, text);
  document.getElementById("notes").append(message);
  setTimeout(() => message.remove(), 5000);
}

/** Placeholder while content loads. */
export function skeleton(lines = 3) {
  const rows = Array.from({ length: lines }, () => h("div", { class: "bone" }));
  return h("div", { class: "skeleton", "aria-hidden": "true" }, rows);
}

/** Message for an empty list. */
export function empty(glyph, title, text, ...actions) {
  return h(
    "div",
    { class: "empty" },
    h("div", { class: "empty-glyph" }, icon(glyph)),
    h("h2", {}, title),
    h("p", {}, text),
    actions.length > 0 && h("div", { class: "row" }, actions),
  );
}
