/** Shows a problem: message, code and a link to its documentation. */

import { button, h, icon } from "./dom.js";

export function showProblem(problem, { retry } = {}) {
  const faults = (problem.errors ?? []).filter((fault) => fault.detail !== problem.message);
  return h(
    "div",
    { class: "problem", role: "alert" },
    icon("alert"),
    h(
      "div",
      {},
      h("p", { class: "problem-title" }, problem.title ?? "An error occurred on this page"),
      h("p", {}, problem.message),
      faults.length > 0 &&
        h(
          "ul",
          {},
          faults.map((fault) =>
            h("li", {}, h("code", {}, fault.pointer ?? fault.parameter ?? fault.header ?? ""), " ", fault.detail),
          ),
        ),
      h(
        "p",
        { class: "problem-foot" },
        problem.code && codeLink(problem.code, problem.isKnown),
        problem.requestId && h("span", { class: "faint" }, `Request ${problem.requestId}`),
        problem.retryAfter && h("span", {}, `Retry after ${problem.retryAfter} s.`),
      ),
      retry && button("Try again", { on: { click: retry } }),
    ),
  );
}

/** A code with a link to its documentation. */
export function codeLink(code, isKnown = true) {
  const element = h("code", {}, code);
  return isKnown ? h("a", { href: `/problems/${code}`, target: "_blank", rel: "noopener" }, element) : element;
}
