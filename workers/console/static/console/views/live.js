/** Speak, or play a file, and watch the words come. */

import { Problem } from "../api.js";
import { button, fill, h, icon } from "../dom.js";
import { LiveSession } from "../live.js";
import { Meter } from "../meter.js";
import { pageHead, tick } from "../parts.js";
import { showProblem } from "../problem.js";
import { clock } from "../say.js";
import { keepSound, wavOf } from "../sounds.js";
import { FileSource, Microphone, RATE } from "../sources.js";
import { LiveText } from "../live_text.js";

/** Longer recordings are not kept in this tab. */
const MOST_KEPT = 60 * 60 * RATE * 2;
const MOST_EARLY = 100;
const SILENT_PEAK = 0.004;
const SILENT_FRAMES = 50;
const STATES = {
  idle: "Ready",
  starting: "Connecting…",
  live: "Listening",
  waiting: "Reconnecting upstream…",
  finishing: "Finishing…",
};
/** What a browser says when there is no microphone to be had. */
const DENIED = {
  NotAllowedError: "The browser does not let this page use the microphone. Allow it beside the address, then try again.",
  NotFoundError: "No microphone was found. Plug one in, or pick a file.",
  NotReadableError: "Another program has the microphone.",
};

export function liveView({ signal, go }) {
  return new LiveView({ signal, go }).element;
}

class LiveView {
  constructor({ signal, go }) {
    Object.assign(this, { signal, go, state: "idle", kept: [], keptBytes: 0, silent: 0 });
    this.meter = new Meter();
    this.text = new LiveText();
    this.main = h("button", { type: "button", class: "record", on: { click: () => this.toggle() } });
    this.label = h("p", { class: "record-label" });
    this.clock = h("span", { class: "time", "aria-hidden": "true" }, "0:00");
    this.said = h("div", { class: "live-said", "aria-live": "polite" });
    this.picker = h("input", { type: "file", class: "sr", id: "live-file", accept: "audio/*,video/*", on: { change: () => this.playFile() } });
    this.speakers = tick("Tell speakers apart");
    this.choices = h(
      "div",
      { class: "live-choices" },
      h("span", { class: "drop-place" }, this.picker, h("label", { class: "button quiet", for: "live-file" }, icon("wave"), "Play a file into it")),
      this.speakers,
    );
    this.element = h(
      "div",
      { class: "narrow live" },
      pageHead("Transcribe live", "Words appear as you speak, faint while they may still change."),
      h("section", { class: "studio card", "aria-label": "Recorder" }, this.main, h("div", { class: "record-line" }, this.label, this.clock), this.meter.element, this.choices),
      this.said,
      this.text.element,
    );
    this.show("idle");
    signal.addEventListener("abort", () => this.leave());
  }

  show(state) {
    this.state = state;
    const isOn = state === "live" || state === "waiting";
    fill(this.main, icon(isOn ? "stop" : "mic"));
    this.main.setAttribute("aria-label", isOn ? "Stop" : "Speak");
    this.main.classList.toggle("on", isOn);
    // Not `disabled`: that would take the focus from whoever has just pressed it.
    this.main.setAttribute("aria-disabled", String(state === "starting" || state === "finishing"));
    this.label.textContent = state === "idle" ? "Press to speak" : STATES[state];
    this.label.dataset.state = state;
    this.choices.hidden = state !== "idle";
  }

  toggle() {
    if (this.state === "idle") this.begin(new Microphone());
    else this.stop();
  }

  async playFile() {
    const [file] = this.picker.files;
    this.picker.value = "";
    if (!file) return;
    const source = new FileSource(file);
    this.show("starting");
    try {
      await source.prepare();
    } catch {
      this.fail(new Problem(0, { title: "Not audio that this browser reads", detail: `${file.name} cannot be played here. Upload it instead: the platform reads more kinds.` }));
      return;
    }
    await this.begin(source);
  }

  async begin(source) {
    fill(this.said);
    this.text.clear();
    this.meter.clear();
    Object.assign(this, { source, kept: [], keptBytes: 0, silent: 0, frames: 0, early: [] });
    this.show("starting");
    if (source instanceof Microphone && !Microphone.isThere) {
      const detail = "Browsers give a microphone only to pages from https, or from this very machine. Pick a file, or open the console over https.";
      this.fail(new Problem(0, { title: "No microphone here", detail }));
      return;
    }
    this.session = new LiveSession({ onMessage: (message) => this.hear(message), onGone: (how) => this.gone(how) });
    const options = this.speakers.querySelector("input").checked ? { diarize: true } : {};
    try {
      // First the microphone: a browser asks its person, and that takes as long as it does.
      if (source instanceof Microphone) await this.listen();
      await this.session.open({ options, signal: this.signal });
      if (!(source instanceof Microphone)) await this.listen();
    } catch (problem) {
      this.source.stop();
      if (!this.signal.aborted) this.fail(problem);
    }
  }

  async listen() {
    try {
      await this.source.start({ onFrame: (pcm, peak) => this.take(pcm, peak), onEnd: () => this.stop() });
    } catch (error) {
      throw new Problem(0, { title: "The microphone does not start", detail: DENIED[error.name] ?? error.message });
    }
  }

  take(pcm, peak) {
    if (this.state === "starting" && this.early.length < MOST_EARLY) this.early.push([pcm, peak]);
    if (this.state !== "live" && this.state !== "waiting") return;
    this.frames += 1;
    this.meter.push(peak);
    this.clock.textContent = clock(this.frames / 10);
    if (this.keptBytes < MOST_KEPT) {
      this.kept.push(pcm);
      this.keptBytes += pcm.byteLength;
    }
    if (!this.session.send(pcm) && this.session.lostFrames === 1) {
      this.text.warn("The network is too slow: some of what you say is lost on its way.");
    }
    this.silent = peak < SILENT_PEAK ? this.silent + 1 : 0;
    if (this.silent === SILENT_FRAMES) this.text.warn("Nothing is heard. Is the right microphone chosen, and switched on?");
  }

  hear(message) {
    const on = {
      ready: () => this.ready(),
      transcript: () => this.text.take(message),
      utterance_end: () => this.text.endUtterance(),
      warning: () => this.warn(message),
    };
    on[message.type]?.();
  }

  /** What was said while the socket opened goes first. */
  ready() {
    this.show("live");
    for (const [pcm, peak] of this.early.splice(0)) this.take(pcm, peak);
  }

  warn(warning) {
    if (warning.code === "upstream_reconnecting") this.show("waiting");
    if (warning.code === "upstream_reconnected") this.show("live");
    this.text.warn(warning.detail, warning.code);
  }

  stop() {
    if (this.state !== "live" && this.state !== "waiting") return;
    this.source.stop();
    this.show("finishing");
    this.session.close();
  }

  gone({ end, problem }) {
    this.source.stop();
    const { jobId } = this.session;
    if (jobId && this.kept.length) keepSound(jobId, wavOf(this.kept, RATE));
    if (this.signal.aborted || (problem && !jobId)) return;
    this.show("idle");
    if (end?.reason === "client_closed" && end.status === "completed") {
      this.go(`#/jobs/${jobId}`);
      return;
    }
    fill(
      this.said,
      problem ? showProblem(problem) : h("p", { class: "ended card" }, ENDINGS[end.reason] ?? `The session ended: ${end.reason}.`),
      h("p", {}, h("a", { class: "button quiet", href: `#/jobs/${jobId}` }, "What was kept of it")),
    );
  }

  fail(problem) {
    this.show("idle");
    fill(this.said, showProblem(problem, { retry: this.source instanceof Microphone ? () => this.begin(new Microphone()) : undefined }));
  }

  /** Another page was opened: what was said is kept, and ends here. */
  leave() {
    this.source?.stop();
    this.session?.close();
  }
}

const ENDINGS = {
  idle: "It ended because nothing was heard for a while.",
  max_duration: "It ended because it was as long as a session may be.",
  shutdown: "The platform is being restarted. What was said so far is kept; begin anew in a moment.",
  upstream_failed: "The recogniser upstream failed for good. What was said so far is kept.",
};
