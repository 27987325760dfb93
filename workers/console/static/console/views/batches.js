/** The list of batches and their progress. */

import { get } from "../api.js";
import { button, empty, fill, h, skeleton } from "../dom.js";
import { follow } from "../events.js";
import { pageHead } from "../parts.js";
import { showProblem } from "../problem.js";
import { ago, moment } from "../format.js";

const POLL_MS = 5000;
/** Labels of the statuses that are shown; the usual ones have none. */
const STATUSES = { preparing: "Preparing", paused: "Paused", canceling: "Canceling" };
const ENDS = ["completed", "failed", "canceled", "expired"];

export function batchesView({ signal }) {
  const list = h("ol", { class: "batches", "aria-label": "Batches, newest first" });
  const slot = h("div", {}, skeleton(3));
  let cursor = "";
  let isOpen = false;
  let isLong = false;

  async function load({ more = false } = {}) {
    try {
      const page = await get(`/v1/batches?limit=20${more ? `&cursor=${encodeURIComponent(cursor)}` : ""}`, { signal });
      show(page, more);
    } catch (problem) {
      if (!signal.aborted) fill(slot, showProblem(problem, { retry: () => load() }));
    }
  }

  function show(page, more) {
    const cards = page.data.map(batchCard);
    const hadFocus = list.contains(document.activeElement) && document.activeElement.getAttribute("href");
    if (more) list.append(...cards);
    else fill(list, cards);
    if (hadFocus) list.querySelector(`[href="${hadFocus}"]`)?.focus();
    isLong ||= more;
    isOpen = page.data.some((batch) => batch.status !== "completed");
    cursor = page.next_cursor;
    if (list.childElementCount === 0) {
      const text = "Submit a list of URLs or a manifest with POST /v1/batches. Progress is shown here.";
      fill(slot, empty("stack", "No batches yet", text, h("a", { class: "button quiet", href: "/docs#submit_batch" }, "How to submit a batch")));
      return;
    }
    const older = page.has_more && button("Older", { on: { click: () => load({ more: true }) } });
    fill(slot, list, older && h("div", { class: "pager" }, older));
  }

  let pendingLoad = null;
  let isPolling = false;
  follow("/v1/events?types=batch.progress,batch.completed", {
    signal,
    onEvent: () => {
      if (isLong) return;
      pendingLoad ??= setTimeout(() => {
        pendingLoad = null;
        load();
      }, 300);
    },
    onState: (state) => {
      isPolling = state === "polling";
    },
  });
  // Progress events are sent at every quarter only, too rarely for large batches.
  const timer = setInterval(() => {
    if (document.visibilityState === "visible" && !isLong && (isOpen || isPolling)) load();
  }, POLL_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  load();
  return h("div", {}, pageHead("Batches", "Jobs submitted together and their progress."), slot);
}

function batchCard(batch) {
  const { counts } = batch;
  const done = counts.total - counts.open;
  const percent = counts.total ? Math.floor((100 * done) / counts.total) : 100;
  const parts = ENDS.filter((name) => counts[name] > 0).map((name) => {
    const part = h("span", { class: `part status-${name}` });
    part.style.setProperty("--share", String(counts[name] / counts.total));
    return part;
  });
  const summary = ENDS.filter((name) => counts[name] > 0).map((name) => `${counts[name]} ${name}`);
  const name = batch.metadata?.name ?? `Batch …${batch.id.slice(-8)}`;
  return h(
    "li",
    { class: "batch card" },
    h("h2", {}, h("a", { href: `#/jobs?batch=${batch.id}` }, name)),
    h(
      "p",
      { class: "faint" },
      h("time", { datetime: batch.created_at, title: moment(batch.created_at) }, ago(batch.created_at)),
      STATUSES[batch.status] && ` · ${STATUSES[batch.status]}`,
    ),
    h(
      "div",
      {
        class: "progress",
        role: "progressbar",
        "aria-label": `${name}: jobs that have ended`,
        "aria-valuenow": String(percent),
        "aria-valuemin": "0",
        "aria-valuemax": "100",
      },
      parts,
    ),
    h("p", { class: "batch-counts" }, h("strong", {}, `${done} of ${counts.total}`), summary.length > 0 && h("span", { class: "faint" }, ` · ${summary.join(", ")}`)),
  );
}
