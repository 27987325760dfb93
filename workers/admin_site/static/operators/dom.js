// Creates HTML and SVG elements. Text is never parsed as markup.
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const h = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const s = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

// A bar with parts of the given shares; the CSP allows widths set by script.
export function bar(parts, { label } = {}) {
  const track = h("div", { class: "track", role: label ? "img" : null, "aria-label": label });
  for (const { share, kind, title } of parts) {
    const segment = h("span", { class: `fill ${kind}`, title });
    segment.style.width = `${Math.min(100, Math.max(0, share * 100))}%`;
    track.append(segment);
  }
  return track;
}
