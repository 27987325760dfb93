/** The list of jobs, as it changes. */

import { get } from "../api.js";
import { button, empty, fill, h, skeleton } from "../dom.js";
import { follow } from "../events.js";
import { jobRow, pageHead, segmented } from "../parts.js";
import { showProblem } from "../problem.js";
import { STATUSES } from "../say.js";

const PAGE = 20;
const POLL_MS = 4000;
const GATHER_MS = 250;
/** More changes at once than this are one new page, not so many single jobs. */
const MANY = 5;
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
    this.place = h("div", {}, skeleton(6));
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
      this.place,
    );
  }

  filter(status) {
    this.status = status;
    this.cursors = [""];
    const query = new URLSearchParams({ ...(status && { status }), ...(this.batch && { batch: this.batch }) });
    history.replaceState(null, "", `#/jobs${query.size ? `?${query}` : ""}`);
    fill(this.place, skeleton(6));
    this.load();
  }

  get address() {
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
    const address = this.address;
    try {
      const page = await get(address, { signal: this.signal });
      if (address === this.address) this.show(page);
    } catch (problem) {
      if (this.signal.aborted) return;
      fill(this.place, showProblem(problem, { retry: () => this.load() }));
    }
  }

  show(page) {
    const hadFocus = this.list.contains(document.activeElement) && document.activeElement.getAttribute("href");
    if (page.data.length === 0 && this.cursors.length === 1) {
      fill(this.place, this.nothing());
      return;
    }
    fill(this.list, page.data.map(jobRow));
    fill(this.place, this.list, this.pager(page));
    if (hadFocus) this.list.querySelector(`[href="${hadFocus}"]`)?.focus();
  }

  nothing() {
    if (this.status) {
      return empty("list", `Nothing is ${this.status}`, "No job has this status right now.", button("Show all", { on: { click: () => this.go(this.batch ? `#/jobs?batch=${this.batch}` : "#/jobs") } }));
    }
    return empty(
      "list",
      "No jobs yet",
      "Everything you have transcribed is listed here, whichever way it came.",
      h("a", { class: "button primary", href: "#/upload" }, "Upload a file"),
      h("a", { class: "button quiet", href: "#/live" }, "Speak"),
    );
  }

  pager(page) {
    if (!page.has_more && this.cursors.length === 1) return null;
    const turn = (change) => () => {
      change();
      this.load();
      scrollTo({ top: 0 });
    };
    return h(
      "nav",
      { class: "pager", "aria-label": "Pages" },
      button("Newer", { disabled: this.cursors.length === 1, on: { click: turn(() => this.cursors.pop()) } }),
      h("span", { class: "faint" }, `Page ${this.cursors.length}`),
      button("Older", { disabled: !page.has_more, on: { click: turn(() => this.cursors.push(page.next_cursor)) } }),
    );
  }

  watch() {
    const address = this.batch ? `/v1/events?batch_id=${this.batch}` : "/v1/events";
    follow(address, {
      signal: this.signal,
      onEvent: (_type, event) => event.job_id && this.note(event.job_id),
      onState: (state) => this.showState(state),
    });
  }

  showState(state) {
    fill(this.state, h("span", { class: `dot ${state}` }), STATES[state]);
    if (state !== "polling" || this.timer) return;
    this.timer = setInterval(() => document.visibilityState === "visible" && this.load(), POLL_MS);
    this.signal.addEventListener("abort", () => clearInterval(this.timer));
  }

  /** Gather what changes within a moment. */
  note(jobId) {
    this.changed.add(jobId);
    this.gathering ??= setTimeout(() => this.refresh(), GATHER_MS);
  }

  async refresh() {
    const changed = [...this.changed];
    this.changed.clear();
    this.gathering = null;
    if (this.signal.aborted) return;
    const isShown = (id) => this.list.querySelector(`[data-id="${id}"]`);
    const isNews = this.cursors.length === 1 && changed.some((id) => !isShown(id));
    if (this.status || isNews || changed.length > MANY) {
      await this.load();
      return;
    }
    for (const id of changed.filter(isShown)) await this.renew(id);
  }

  async renew(id) {
    const job = await get(`/v1/jobs/${id}`, { signal: this.signal }).catch(() => null);
    const row = this.list.querySelector(`[data-id="${id}"]`);
    if (!job || !row) return;
    const hadFocus = row.contains(document.activeElement);
    const renewed = jobRow(job);
    row.replaceWith(renewed);
    if (hadFocus) renewed.querySelector("a").focus();
  }
}
