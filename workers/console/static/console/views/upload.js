/** Submits a file or a URL and shows the router's decision. */

import { post, upload } from "../api.js";
import { append, button, fill, h, icon } from "../dom.js";
import { checkbox, pageHead, routeStrip, segmented } from "../parts.js";
import { showProblem } from "../problem.js";
import { bytes } from "../format.js";
import { cacheAudio } from "../sounds.js";

/** Files up to this size are sent twice: first to show the router's decision. */
const MAX_EXPLAINED_BYTES = 8e6;
const MODES = [["", "Automatic"], ["sync", "Immediately"], ["async", "Queue"]];

export function uploadView({ signal, go }) {
  return new UploadView({ signal, go }).element;
}

class UploadView {
  constructor({ signal, go }) {
    Object.assign(this, { signal, go, mode: "", file: null });
    this.input = h("input", {
      type: "file",
      class: "sr",
      id: "file",
      accept: "audio/*,video/*,.wav,.mp3,.flac,.m4a,.ogg,.opus,.webm,.mp4",
      on: { change: () => this.pick(this.input.files[0]) },
    });
    this.drop = h("label", {
      class: "drop card",
      for: "file",
      on: {
        dragover: (event) => this.handleDrag(event, true),
        dragleave: (event) => this.handleDrag(event, false),
        drop: (event) => {
          this.handleDrag(event, false);
          this.pick(event.dataTransfer.files[0]);
        },
      },
    });
    this.url = h("input", { type: "url", id: "url", placeholder: "https://example.com/call.wav", autocomplete: "off", spellcheck: "false" });
    this.speakers = checkbox("Identify speakers");
    this.result = h("div", { class: "said-place", "aria-live": "polite" });
    this.send = button("Transcribe", { kind: "primary", glyph: "up", disabled: true, on: { click: () => this.submit() } });
    this.url.addEventListener("input", () => this.ready());
    this.element = h(
      "div",
      { class: "narrow" },
      pageHead("Transcribe a file", "Short audio is transcribed immediately, long audio is queued. The page shows the decision and its reason."),
      h("div", { class: "drop-place" }, this.input, this.drop),
      h("div", { class: "field" }, h("label", { for: "url" }, "Or a URL that the platform can reach"), this.url),
      h("div", { class: "options" }, segmented("Mode", MODES, "", (mode) => this.choose(mode)), this.speakers),
      h("div", { class: "row" }, this.send),
      this.result,
    );
    this.showFile();
  }

  handleDrag(event, isOver) {
    event.preventDefault();
    this.drop.classList.toggle("over", isOver);
  }

  pick(file) {
    if (!file) return;
    this.file = file;
    this.url.value = "";
    this.showFile();
    this.ready();
    this.explain();
  }

  choose(mode) {
    this.mode = mode;
    this.explain();
  }

  showFile() {
    fill(this.drop, h("span", { class: "drop-glyph" }, icon(this.file ? "wave" : "up")));
    if (this.file) {
      append(this.drop, [h("strong", {}, this.file.name), h("span", { class: "faint" }, `${bytes(this.file.size)} · choose another`)]);
    } else {
      append(this.drop, [h("strong", {}, "Choose a file"), h("span", { class: "faint" }, "or drop one here: WAV, MP3, FLAC, M4A, OGG, video …")]);
    }
  }

  ready() {
    if (this.url.value) {
      this.file = null;
      this.input.value = "";
      this.showFile();
    }
    this.send.disabled = !(this.file || this.url.value);
  }

  get fields() {
    const options = this.speakers.querySelector("input").checked ? { diarize: true } : null;
    return { ...(this.mode && { mode: this.mode }), ...(options && { options }) };
  }

  /** Requests the router's decision without running a job. */
  async explain() {
    fill(this.result);
    const { file, mode } = this;
    if (!file || file.size > MAX_EXPLAINED_BYTES) return;
    try {
      const { body } = await upload("/v1/transcribe?explain=true", this.form, { signal: this.signal });
      if (this.file === file && this.mode === mode && !this.isSending) {
        fill(this.result, h("p", { class: "faint" }, "The router would choose:"), routeStrip(body.route));
      }
    } catch (problem) {
      if (this.file === file && !this.isSending && !this.signal.aborted) fill(this.result, showProblem(problem));
    }
  }

  get form() {
    const { options, ...rest } = this.fields;
    return { ...rest, ...(options && { options: JSON.stringify(options) }), file: this.file };
  }

  async submit() {
    this.isSending = true;
    this.send.disabled = true;
    const bar = h("progress", { max: "1", value: "0", "aria-label": "Upload progress" });
    const text = h("p", {}, this.file ? "Uploading…" : "Submitting…");
    fill(this.result, h("div", { class: "card quiet-card" }, text, bar));
    try {
      const response = await this.transcribe((share) => {
        bar.value = share;
        if (share < 1) return;
        text.textContent = "Transcribing… If it takes too long, the job continues in the queue.";
        bar.removeAttribute("value");
      });
      const job = response.job ?? response;
      if (this.file) cacheAudio(job.id, this.file);
      this.go(`#/jobs/${job.id}`);
    } catch (problem) {
      if (!this.signal.aborted) fill(this.result, showProblem(problem, { retry: () => this.submit() }));
    } finally {
      this.isSending = false;
      this.send.disabled = false;
      if (document.activeElement === document.body) this.send.focus({ preventScroll: true });
    }
  }

  async transcribe(onProgress) {
    if (this.file) return (await upload("/v1/transcribe", this.form, { onProgress, signal: this.signal })).body;
    onProgress(1);
    return post("/v1/transcribe", { ...this.fields, audio_url: this.url.value, probe_url: true }, { signal: this.signal });
  }
}
