/** One job: status, details and transcript. */

import { request, get, post, Problem } from "../api.js";
import { button, fill, h, icon, notify, skeleton } from "../dom.js";
import { follow } from "../events.js";
import { pageHead, routeStrip, statusChip } from "../parts.js";
import { codeLink, showProblem } from "../problem.js";
import { bytes, duration, isFinal, MODES, moment, nameOf } from "../format.js";
import { cachedAudio } from "../sounds.js";
import { timelineOf } from "../timeline.js";
import { TranscriptViewer } from "../transcript.js";

const POLL_MS = 2000;
/** Larger audio is fetched on request only. */
const MAX_AUTOMATIC_BYTES = 25e6;
const FIRST_EVENT_ID = "0-00000000-0000-0000-0000-000000000000";

export function jobView({ id, signal, go }) {
  const view = new JobView({ id, signal, go });
  view.load();
  view.watch();
  return view.element;
}

class JobView {
  constructor({ id, signal, go }) {
    Object.assign(this, { id, signal, go, events: [], attempts: [] });
    this.head = h("div", {}, pageHead("Job", "", h("span", { class: "faint", role: "status" }, "Loading…")));
    this.main = h("div", { class: "job-main" }, skeleton(6));
    this.side = h("aside", { class: "job-side", "aria-label": "About this job" });
    this.element = h(
      "div",
      {},
      h("a", { class: "back", href: "#/jobs" }, icon("back"), "Jobs"),
      this.head,
      h("div", { class: "job-columns" }, this.main, this.side),
    );
    signal.addEventListener("abort", () => this.viewer?.release());
  }

  async load() {
    try {
      const [job, attempts] = await Promise.all([
        get(`/v1/jobs/${this.id}`, { signal: this.signal }),
        get(`/v1/jobs/${this.id}/attempts`, { signal: this.signal }),
      ]);
      this.job = job;
      this.attempts = attempts.data;
      this.show();
    } catch (problem) {
      if (this.signal.aborted) return;
      fill(this.head, pageHead("This job cannot be shown"));
      fill(this.main, showProblem(problem, { retry: () => this.load() }));
    }
  }

  watch() {
    follow(`/v1/jobs/${this.id}/events`, {
      signal: this.signal,
      lastId: FIRST_EVENT_ID,
      untilEnd: true,
      onEvent: (type, event) => {
        if (type.startsWith("job.")) this.events.push(event);
        this.pendingLoad ??= setTimeout(() => {
          this.pendingLoad = null;
          if (!this.signal.aborted) this.load();
        }, 100);
      },
      onState: (state) => state === "polling" && this.poll(),
    });
  }

  poll() {
    const timer = setInterval(() => {
      if (this.job && isFinal(this.job.status)) clearInterval(timer);
      else this.load();
    }, POLL_MS);
    this.signal.addEventListener("abort", () => clearInterval(timer));
  }

  show() {
    const { job } = this;
    document.title = `${nameOf(job)} · Console`;
    this.showHead(job);
    fill(
      this.side,
      routeStrip(job.route),
      facts(job),
      h("section", { class: "card" }, h("h2", {}, "Timeline"), timelineOf(job, this.attempts, this.events)),
    );
    this.showMain(job);
  }

  showHead(job) {
    const hadFocus = this.head.contains(document.activeElement);
    const canRetry = isFinal(job.status) && job.mode !== "live" && !job.erased_at;
    fill(
      this.head,
      pageHead(
        nameOf(job),
        "",
        statusChip(job.status),
        !isFinal(job.status) && button("Cancel", { kind: "danger", on: { click: () => this.act("cancel") } }),
        canRetry && button("Run again", { on: { click: () => this.act("retry") } }),
      ),
      this.problem,
    );
    if (hadFocus) this.head.querySelector("h1").focus();
  }

  async act(action) {
    try {
      const job = await post(`/v1/jobs/${this.id}/${action}`);
      this.problem = null;
      if (action === "retry") {
        notify("Submitted again as a new job.");
        this.go(`#/jobs/${job.id}`);
        return;
      }
      notify("Canceled.");
    } catch (problem) {
      this.problem = showProblem(problem);
    }
    this.load();
  }

  showMain(job) {
    if (this.viewer || this.isFetching) return;
    if (job.status === "completed" && !job.erased_at) this.showTranscript(job);
    else fill(this.main, missingTranscript(job));
  }

  async showTranscript(job) {
    this.isFetching = true;
    fill(this.main, skeleton(8));
    try {
      const transcript = await get(`/v1/transcripts/${this.id}?format=json`, { signal: this.signal });
      this.viewer = new TranscriptViewer({ transcript, jobId: this.id });
      fill(this.main, warningsOf(transcript.warnings), this.viewer.element);
      await this.loadAudio(job);
    } catch (problem) {
      if (!this.signal.aborted) fill(this.main, showProblem(problem, { retry: () => this.showTranscript(job) }));
    } finally {
      this.isFetching = false;
    }
  }

  async loadAudio(job) {
    const audio = cachedAudio(this.id);
    if (audio) this.viewer.loadSound(audio);
    else if (job.mode === "live") this.viewer.showAudioMessage("The audio of a live session is not stored.");
    else if (job.audio.url) this.viewer.showAudioMessage("The audio is at your URL (", codeLink("audio_not_stored"), "), so it cannot be played here.");
    else if (job.audio.size_bytes > MAX_AUTOMATIC_BYTES) this.offerAudio(job.audio.size_bytes);
    else await this.fetchAudio();
  }

  offerAudio(size) {
    this.viewer.showAudioMessage(button(`Load the audio (${bytes(size)})`, { on: { click: () => this.fetchAudio() } }));
  }

  async fetchAudio() {
    this.viewer.showAudioMessage("Loading the audio…");
    try {
      const response = await request(`/v1/jobs/${this.id}/audio`, { headers: { Accept: "*/*" }, signal: this.signal });
      this.viewer.loadSound(await response.blob());
    } catch (problem) {
      if (this.signal.aborted) return;
      if (!(problem instanceof Problem)) throw problem;
      this.viewer.showAudioMessage(`${problem.message} `, codeLink(problem.code, problem.isKnown));
    }
  }
}

function missingTranscript(job) {
  if (job.erased_at) return h("div", { class: "card quiet-card" }, h("h2", {}, "Erased"), h("p", {}, `The content was erased on ${moment(job.erased_at)}.`));
  if (job.status === "failed") {
    return h("div", { class: "card quiet-card" }, h("h2", {}, "Failed"), h("p", {}, job.error.detail), h("p", {}, codeLink(job.error.code)));
  }
  if (isFinal(job.status)) return h("div", { class: "card quiet-card" }, h("h2", {}, `Job ${job.status}`), h("p", {}, "There is no transcript. Run the job again to get one."));
  const queue = job.queue && `Position ${job.queue.position} in your queue${job.queue.eta_seconds === null ? "" : `, about ${duration(job.queue.eta_seconds)} remaining`}.`;
  const text = job.status === "processing" ? "The audio is being transcribed." : (queue ?? "The job is in the queue.");
  return h(
    "div",
    { class: "card quiet-card" },
    h("h2", {}, job.status === "processing" ? "Transcribing" : "Waiting"),
    h("p", {}, text, " The transcript will appear here."),
    h("span", { class: "bar going wide", "aria-hidden": "true" }),
  );
}

function warningsOf(warnings) {
  if (!warnings?.length) return null;
  return h(
    "ul",
    { class: "warnings" },
    warnings.map((warning) => h("li", {}, icon("alert"), h("span", {}, warning.detail, " ", codeLink(warning.code)))),
  );
}

function facts(job) {
  const options = Object.entries(job.options).map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  const rows = [
    ["Length", duration(job.duration_seconds)],
    ["Size", bytes(job.audio?.size_bytes)],
    ["Mode", MODES[job.mode] ?? job.mode],
    ["Region", job.region],
    ["Submitted", moment(job.created_at)],
    ["Metadata", Object.entries(job.metadata ?? {}).map(([name, value]) => `${name}: ${value}`).join(", ")],
    ["Options", options.join(", ")],
  ];
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Details"),
    h("dl", {}, rows.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    job.retry_of && h("p", {}, h("a", { href: `#/jobs/${job.retry_of}` }, "Original job")),
    h("p", { class: "id faint" }, h("code", {}, job.id)),
  );
}
