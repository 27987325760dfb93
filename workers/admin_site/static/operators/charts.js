// SVG charts, redrawn on each update: stacked columns and lines.
import { s } from "./dom.js";

const HEIGHT = 190;
const EDGE = { top: 10, right: 8, bottom: 22, left: 46 };

// Returns the next round number for an axis.
export function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((candidate) => candidate >= value);
}

function frame(host, label) {
  const width = Math.max(260, host.clientWidth);
  const svg = s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": label });
  return { svg, width, left: EDGE.left, right: width - EDGE.right, top: EDGE.top, bottom: HEIGHT - EDGE.bottom };
}

function grid(area, ticks, y, text) {
  for (const tick of ticks) {
    const at = y(tick);
    area.svg.append(
      s("line", { class: "grid", x1: area.left, x2: area.right, y1: at, y2: at }),
      s("text", { class: "axis", x: area.left - 7, y: at + 4, "text-anchor": "end" }, text(tick)),
    );
  }
}

function times(area, labels, x) {
  const every = Math.max(1, Math.ceil(labels.length / Math.floor((area.right - area.left) / 70)));
  labels.forEach((label, index) => {
    const fromEnd = labels.length - 1 - index;
    if (fromEnd % every) return;
    const anchor = fromEnd === 0 ? "end" : "middle";
    area.svg.append(s("text", { class: "axis", x: fromEnd === 0 ? area.right : x(index), y: HEIGHT - 6, "text-anchor": anchor }, label));
  });
}

// ``columns``: {label, title, parts: [{kind, value}]}, bottom first.
export function columns(host, data, { label, text }) {
  const area = frame(host, label);
  const total = (column) => column.parts.reduce((sum, part) => sum + part.value, 0);
  const most = ceiling(Math.max(...data.map(total), 0));
  const y = (value) => area.bottom - (value / most) * (area.bottom - area.top);
  const step = (area.right - area.left) / data.length;
  const x = (index) => area.left + step * (index + 0.5);
  grid(area, [0, most / 2, most], y, text);
  data.forEach((column, index) => {
    const group = s("g", { class: "column" }, s("title", {}, column.title));
    group.append(s("rect", { class: "hit", x: area.left + step * index, y: area.top, width: step, height: area.bottom - area.top }));
    let below = 0;
    for (const { kind, value } of column.parts) {
      if (!value) continue;
      const top = y(below + value);
      const gap = Math.min(2, step * 0.2);
      group.append(s("rect", { class: `fill ${kind}`, x: area.left + step * index + gap / 2, y: top, width: step - gap, height: Math.max(1, y(below) - top), rx: 1 }));
      below += value;
    }
    area.svg.append(group);
  });
  times(area, data.map((column) => column.label), x);
  host.replaceChildren(area.svg);
}

// ``points``: {label, title, values} with one value per kind, or null: seconds, on a
// logarithmic scale, which shows both minutes and tenths of a second.
export function lines(host, points, { label, kinds, text }) {
  const area = frame(host, label);
  const known = points.flatMap((point) => point.values).filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(...known, 1)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...known, 1))));
  const y = (value) =>
    area.bottom - ((Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * (area.bottom - area.top);
  const step = (area.right - area.left) / points.length;
  const x = (index) => area.left + step * (index + 0.5);
  grid(area, Array.from({ length: high - low + 1 }, (_, n) => 10 ** (low + n)), y, text);
  kinds.forEach((kind, which) => {
    let path = "";
    let isDrawing = false;
    points.forEach((point, index) => {
      const value = point.values[which];
      if (value === null || value === undefined) { isDrawing = false; return; }
      path += `${isDrawing ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
      if (!isDrawing && points[index + 1]?.values[which] === undefined) path += "h0.1";
      isDrawing = true;
    });
    area.svg.append(s("path", { class: `line ${kind}`, d: path || "M0 0" }));
  });
  points.forEach((point, index) => {
    area.svg.append(s("g", { class: "column" }, s("title", {}, point.title),
      s("rect", { class: "hit", x: area.left + step * index, y: area.top, width: step, height: area.bottom - area.top })));
  });
  times(area, points.map((point) => point.label), x);
  host.replaceChildren(area.svg);
}

