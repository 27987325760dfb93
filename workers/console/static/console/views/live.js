/** Live transcription of the microphone or a file. */

import { Problem } from "../api.js";
import { button, fill, h, icon } from "../dom.js";
import { LiveSession } from "../live.js";
import { Meter } from "../meter.js";
import { checkbox, pageHead } from "../parts.js";
import { showProblem } from "../problem.js";
import { clock } from "../format.js";
import { cacheAudio, wavOf } from "../sounds.js";
import { FileSource, Microphone, RATE } from "../sources.js";
import { LiveText } from "../live_text.js";

/** Maximum size of a recording that is cached in this tab. */
const MAX_RECORDED_BYTES = 60 * 60 * RATE * 2;
const MAX_EARLY_FRAMES = 100;
const SILENT_PEAK = 0.004;
const SILENT_FRAMES = 50;
const STATES = {
  idle: "Ready",
  starting: "Connecting…",
  live: "Listening",
  waiting: "Reconnecting upstream…",
  finishing: "Finishing…",
};
/** Messages for errors of getUserMedia. */
const MICROPHONE_ERRORS = {
  NotAllowedError: "The browser does not let this page use the microphone. Allow it in the address bar and try again.",
  NotFoundError: "No microphone found. Connect one, or choose a file.",
  NotReadableError: "The microphone is used by another program.",
};

export function liveView({ signal, go }) {
  return new LiveView({ signal, go }).element;
}

class LiveView {
  constructor({ signal, go }) {
    Object.assign(this, { signal, go, state: "idle", recorded: [], recordedBytes: 0, silent: 0 });
    this.meter = new Meter();
    this.text = new LiveText();
    this.main = h("button", { type: "button", class: "record", on: { click: () => this.toggle() } });
    this.label = h("p", { class: "record-label" });
    this.clock = h("span", { class: "time", "aria-hidden": "true" }, "0:00");
    this.result = h("div", { class: "live-said", "aria-live": "polite" });
    this.picker = h("input", { type: "file", class: "sr", id: "live-file", accept: "audio/*,video/*", on: { change: () => this.playFile() } });
    this.speakers = checkbox("Identify speakers");
    this.choices = h(
      "div",
      { class: "live-choices" },
      h("span", { class: "drop-place" }, this.picker, h("label", { class: "button quiet", for: "live-file" }, icon("wave"), "Transcribe a file live")),
      this.speakers,
    );
    this.element = h(
      "div",
      { class: "narrow live" },
      pageHead("Transcribe live", "Words appear as you speak; interim words are gray."),
      h("section", { class: "studio card", "aria-label": "Recorder" }, this.main, h("div", { class: "record-line" }, this.label, this.clock), this.meter.element, this.choices),
      this.result,
      this.text.element,
    );
    this.show("idle");
    signal.addEventListener("abort", () => this.leave());
  }

  show(state) {
    this.state = state;
    const isOn = state === "live" || state === "waiting";
    fill(this.main, icon(isOn ? "stop" : "mic"));
    this.main.setAttribute("aria-label", isOn ? "Stop" : "Start");
    this.main.classList.toggle("on", isOn);
    // Not `disabled`, which would remove the focus.
    this.main.setAttribute("aria-disabled", String(state === "starting" || state === "finishing"));
    this.label.textContent = state === "idle" ? "Press to start" : STATES[state];
    this.label.dataset.state = state;
    this.choices.hidden = state !== "idle";
  }

  toggle() {
    if (this.state === "idle") this.startSession(new Microphone());
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
      this.fail(new Problem(0, { title: "Not audio that this browser can read", detail: `This browser cannot play ${file.name}. Upload it instead: the platform supports more formats.` }));
      return;
    }
    await this.startSession(source);
  }

  async startSession(source) {
    fill(this.result);
    this.text.clear();
    this.meter.clear();
    Object.assign(this, { source, recorded: [], recordedBytes: 0, silent: 0, frames: 0, early: [] });
    this.show("starting");
    if (source instanceof Microphone && !Microphone.isAvailable) {
      const detail = "Browsers allow the microphone only for https pages and localhost. Choose a file, or open the console over https.";
      this.fail(new Problem(0, { title: "No microphone available", detail }));
      return;
    }
    this.session = new LiveSession({ onMessage: (message) => this.receive(message), onEnd: (result) => this.handleEnd(result) });
    const options = this.speakers.querySelector("input").checked ? { diarize: true } : {};
    try {
      // Start the microphone first: the permission prompt can take long.
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
      await this.source.start({ onFrame: (pcm, peak) => this.handleFrame(pcm, peak), onEnd: () => this.stop() });
    } catch (error) {
      throw new Problem(0, { title: "The microphone did not start", detail: MICROPHONE_ERRORS[error.name] ?? error.message });
    }
  }

  handleFrame(pcm, peak) {
    if (this.state === "starting" && this.early.length < MAX_EARLY_FRAMES) this.early.push([pcm, peak]);
    if (this.state !== "live" && this.state !== "waiting") return;
    this.frames += 1;
    this.meter.push(peak);
    this.clock.textContent = clock(this.frames / 10);
    if (this.recordedBytes < MAX_RECORDED_BYTES) {
      this.recorded.push(pcm);
      this.recordedBytes += pcm.byteLength;
    }
    if (!this.session.send(pcm) && this.session.lostFrames === 1) {
      this.text.warn("The network is too slow: some audio is lost.");
    }
    this.silent = peak < SILENT_PEAK ? this.silent + 1 : 0;
    if (this.silent === SILENT_FRAMES) this.text.warn("No sound. Check that the right microphone is selected and not muted.");
  }

  receive(message) {
    const on = {
      ready: () => this.ready(),
      transcript: () => this.text.add(message),
      utterance_end: () => this.text.endUtterance(),
      warning: () => this.warn(message),
    };
    on[message.type]?.();
  }

  /** Sends the audio recorded while the WebSocket opened. */
  ready() {
    this.show("live");
    for (const [pcm, peak] of this.early.splice(0)) this.handleFrame(pcm, peak);
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

  handleEnd({ end, problem }) {
    this.source.stop();
    const { jobId } = this.session;
    if (jobId && this.recorded.length) cacheAudio(jobId, wavOf(this.recorded, RATE));
    if (this.signal.aborted || (problem && !jobId)) return;
    this.show("idle");
    if (end?.reason === "client_closed" && end.status === "completed") {
      this.go(`#/jobs/${jobId}`);
      return;
    }
    fill(
      this.result,
      problem ? showProblem(problem) : h("p", { class: "ended card" }, END_REASONS[end.reason] ?? `The session ended: ${end.reason}.`),
      h("p", {}, h("a", { class: "button quiet", href: `#/jobs/${jobId}` }, "Open the saved transcript")),
    );
  }

  fail(problem) {
    this.show("idle");
    fill(this.result, showProblem(problem, { retry: this.source instanceof Microphone ? () => this.startSession(new Microphone()) : undefined }));
  }

  /** Ends the session when another view opens; its transcript is saved. */
  leave() {
    this.source?.stop();
    this.session?.close();
  }
}

const END_REASONS = {
  idle: "The session ended because there was no audio.",
  max_duration: "The session reached the maximum duration.",
  shutdown: "The platform is restarting. The transcript so far is saved; start a new session in a moment.",
  upstream_failed: "The upstream failed permanently. The transcript so far is saved.",
};
