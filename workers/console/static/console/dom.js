/** Build elements. Text is only ever set as text, so nothing said can become markup. */

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: `on` holds listeners, `class` and attributes are set as they are. */
export function h(tag, props, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) set(made, name, value);
  append(made, children);
  return made;
}

function set(made, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (name === "on") {
    for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
  } else if (name === "data") {
    Object.assign(made.dataset, value);
  } else if (name in made && typeof value !== "string") {
    made[name] = value;
  } else {
    made.setAttribute(name, value === true ? "" : value);
  }
}

/** Append what is there; null and false are nothing. */
export function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) parent.append(child);
  }
  return parent;
}

/** Put other children in the place of those that are there. */
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

/** A button; `kind` is primary, quiet or danger. */
export function button(label, { kind = "quiet", glyph, ...props } = {}) {
  return h("button", { type: "button", class: `button ${kind}`, ...props }, glyph && icon(glyph), h("span", {}, label));
}

/** Say something that passes. */
export function note(text) {
  const said = h("p", { class: "note" }, text);
  document.getElementById("notes").append(said);
  setTimeout(() => said.remove(), 5000);
}

/** Places for what is on its way. */
export function skeleton(lines = 3) {
  const rows = Array.from({ length: lines }, () => h("div", { class: "bone" }));
  return h("div", { class: "skeleton", "aria-hidden": "true" }, rows);
}

/** What to say where there is nothing. */
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
