/** Components shared by several views. */

import { fill, h, icon } from "./dom.js";
import { ago, duration, isFinal, MODES, moment, nameOf, reasonOf, STATUSES, WAYS } from "./format.js";

export function statusChip(status) {
  return h("span", { class: `chip status-${status}` }, h("span", { class: "dot" }), STATUSES[status] ?? status);
}

/** The router's decision and its reason. */
export function routeStrip(route) {
  if (!route) return null;
  return h(
    "div",
    { class: "route" },
    icon("route"),
    h(
      "div",
      {},
      h("p", { class: "route-way" }, h("strong", {}, WAYS[route.mode] ?? route.mode), h("code", {}, route.reason)),
      h("p", { class: "faint" }, reasonOf(route), route.region ? ` Region: ${route.region}.` : ""),
    ),
  );
}

/** A row of the job list. */
export function jobRow(job) {
  const facts = [
    MODES[job.mode] ?? job.mode,
    job.duration_seconds !== null && duration(job.duration_seconds),
    job.attempt > 1 && `attempt ${job.attempt}`,
    job.priority !== "normal" && `${job.priority} priority`,
  ];
  return h(
    "li",
    { class: "job", data: { id: job.id } },
    h(
      "a",
      { class: "job-link", href: `#/jobs/${job.id}` },
      h("span", { class: "job-name" }, nameOf(job)),
      statusChip(job.status),
      h("span", { class: "job-facts faint" }, facts.filter(Boolean).join(" · ")),
      h("time", { class: "job-time faint", datetime: job.created_at, title: moment(job.created_at) }, ago(job.created_at)),
      !isFinal(job.status) && h("span", { class: "bar going", "aria-hidden": "true" }),
    ),
  );
}

/** A single choice as a row of buttons. */
export function segmented(label, choices, chosen, onChoose) {
  const group = h("div", { class: "segmented", role: "group", "aria-label": label });
  const show = (now) =>
    fill(
      group,
      choices.map(([value, text]) =>
        h(
          "button",
          {
            type: "button",
            "aria-pressed": String(value === now),
            on: {
              click: () => {
                show(value);
                group.querySelector('[aria-pressed="true"]').focus();
                onChoose(value);
              },
            },
          },
          text,
        ),
      ),
    );
  show(chosen);
  return group;
}

/** A checkbox with a label. */
export function checkbox(label, props = {}) {
  return h("label", { class: "tick" }, h("input", { type: "checkbox", ...props }), h("span", {}, label));
}

export function pageHead(title, lead, ...more) {
  return h(
    "div",
    { class: "page-head" },
    h("div", {}, h("h1", { tabindex: "-1" }, title), lead && h("p", { class: "lead" }, lead)),
    more.length > 0 && h("div", { class: "row" }, more),
  );
}
