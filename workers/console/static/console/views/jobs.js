/** The list of jobs with live updates. */

import { get } from "../api.js";
import { button, empty, fill, h, skeleton } from "../dom.js";
import { follow } from "../events.js";
import { jobRow, pageHead, segmented } from "../parts.js";
import { showProblem } from "../problem.js";
import { STATUSES } from "../format.js";

const PAGE = 20;
const POLL_MS = 4000;
const DEBOUNCE_MS = 250;
/** With more changes at once, the page is reloaded instead of single jobs. */
const MAX_SINGLE_UPDATES = 5;
const STATES = { live: "Live", waiting: "Reconnecting", polling: "Every 4 seconds" };

export function jobsView({ query, signal, go }) {
  const view = new JobsView({ status: query.get("status") ?? "", batch: query.get("batch") ?? "", signal, go });
  view.load();
  view.watch();
  return view.element;
}

class JobsView {
  constructor({ status, batch, signal, go }) {
    Object.assign(this, { status, batch, signal, go, cursors: [""], changed: new Set() });
    this.state = h("span", { class: "live-state", role: "status" });
    this.list = h("ol", { class: "jobs card", "aria-label": "Jobs, newest first" });
    this.slot = h("div", {}, skeleton(6));
    const statuses = [["", "All"], ...Object.entries(STATUSES)];
    this.element = h(
      "div",
      {},
      pageHead(batch ? "Jobs of a batch" : "Jobs", "", this.state),
      h(
        "div",
        { class: "filters" },
        segmented("Status", statuses, status, (chosen) => this.filter(chosen)),
        batch && h("a", { class: "button quiet", href: "#/jobs" }, "All jobs"),
      ),
      this.slot,
    );
  }

  filter(status) {
    this.status = status;
    this.cursors = [""];
    const query = new URLSearchParams({ ...(status && { status }), ...(this.batch && { batch: this.batch }) });
    history.replaceState(null, "", `#/jobs${query.size ? `?${query}` : ""}`);
    fill(this.slot, skeleton(6));
    this.load();
  }

  get url() {
    const cursor = this.cursors.at(-1);
    const query = new URLSearchParams({
      limit: String(PAGE),
      ...(this.status && { status: this.status }),
      ...(this.batch && { batch_id: this.batch }),
      ...(cursor && { cursor }),
    });
    return `/v1/jobs?${query}`;
  }

  async load() {
    const url = this.url;
    try {
      const page = await get(url, { signal: this.signal });
      if (url === this.url) this.show(page);
    } catch (problem) {
      if (this.signal.aborted) return;
      fill(this.slot, showProblem(problem, { retry: () => this.load() }));
    }
  }

  show(page) {
    const hadFocus = this.list.contains(document.activeElement) && document.activeElement.getAttribute("href");
    if (page.data.length === 0 && this.cursors.length === 1) {
      fill(this.slot, this.emptyMessage());
      return;
    }
    fill(this.list, page.data.map(jobRow));
    fill(this.slot, this.list, this.pager(page));
    if (hadFocus) this.list.querySelector(`[href="${hadFocus}"]`)?.focus();
  }

  emptyMessage() {
    if (this.status) {
      return empty("list", `No ${this.status} jobs`, "No job has this status.", button("Show all", { on: { click: () => this.go(this.batch ? `#/jobs?batch=${this.batch}` : "#/jobs") } }));
    }
    return empty(
      "list",
      "No jobs yet",
      "All your jobs are listed here.",
      h("a", { class: "button primary", href: "#/upload" }, "Upload a file"),
      h("a", { class: "button quiet", href: "#/live" }, "Transcribe live"),
    );
  }

  pager(page) {
    if (!page.has_more && this.cursors.length === 1) return null;
    const changePage = (change) => () => {
      change();
      this.load();
      scrollTo({ top: 0 });
    };
    return h(
      "nav",
      { class: "pager", "aria-label": "Pages" },
      button("Newer", { disabled: this.cursors.length === 1, on: { click: changePage(() => this.cursors.pop()) } }),
      h("span", { class: "faint" }, `Page ${this.cursors.length}`),
      button("Older", { disabled: !page.has_more, on: { click: changePage(() => this.cursors.push(page.next_cursor)) } }),
    );
  }

  watch() {
    const url = this.batch ? `/v1/events?batch_id=${this.batch}` : "/v1/events";
    follow(url, {
      signal: this.signal,
      onEvent: (_type, event) => event.job_id && this.addChange(event.job_id),
      onState: (state) => this.showState(state),
    });
  }

  showState(state) {
    fill(this.state, h("span", { class: `dot ${state}` }), STATES[state]);
    if (state !== "polling" || this.timer) return;
    this.timer = setInterval(() => document.visibilityState === "visible" && this.load(), POLL_MS);
    this.signal.addEventListener("abort", () => clearInterval(this.timer));
  }

  /** Collects changes for a short time. */
  addChange(jobId) {
    this.changed.add(jobId);
    this.pendingRefresh ??= setTimeout(() => this.refresh(), DEBOUNCE_MS);
  }

  async refresh() {
    const changed = [...this.changed];
    this.changed.clear();
    this.pendingRefresh = null;
    if (this.signal.aborted) return;
    const isShown = (id) => this.list.querySelector(`[data-id="${id}"]`);
    const hasNewJob = this.cursors.length === 1 && changed.some((id) => !isShown(id));
    if (this.status || hasNewJob || changed.length > MAX_SINGLE_UPDATES) {
      await this.load();
      return;
    }
    for (const id of changed.filter(isShown)) await this.updateRow(id);
  }

  async updateRow(id) {
    const job = await get(`/v1/jobs/${id}`, { signal: this.signal }).catch(() => null);
    const row = this.list.querySelector(`[data-id="${id}"]`);
    if (!job || !row) return;
    const hadFocus = row.contains(document.activeElement);
    const updated = jobRow(job);
    row.replaceWith(updated);
    if (hadFocus) updated.querySelector("a").focus();
  }
}
