/** Download menu of a transcript, with the formats of this platform. */

import { request, get, Problem } from "./api.js";
import { button, fill, h, notify } from "./dom.js";

const FORMATS = [
  { name: "text", label: "Text", extension: "txt" },
  { name: "srt", label: "Subtitles (SRT)", extension: "srt" },
  { name: "vtt", label: "Subtitles (WebVTT)", extension: "vtt" },
  { name: "json", label: "JSON, with words", extension: "json" },
  { name: "raw", label: "Deepgram response", extension: "deepgram.json" },
];
let formats = null;

export class Downloads {
  constructor({ jobId, text }) {
    this.jobId = jobId;
    this.text = text;
    this.list = h("div", { class: "menu-list" });
    this.element = h(
      "details",
      {
        class: "menu",
        on: {
          toggle: () => this.element.open && this.show(),
          keydown: (event) => event.key === "Escape" && this.close(),
          focusout: (event) => event.relatedTarget && !this.element.contains(event.relatedTarget) && this.close(),
        },
      },
      h("summary", { class: "button quiet" }, "Download"),
      this.list,
    );
  }

  close() {
    if (!this.element.open) return;
    const hadFocus = this.element.contains(document.activeElement);
    this.element.open = false;
    if (hadFocus) this.element.querySelector("summary").focus();
  }

  async show() {
    if (this.list.childElementCount > 0) return;
    const available = await availableFormats();
    const buttons = FORMATS.filter((format) => available.includes(format.name)).map((format) =>
      button(format.label, { kind: "plain", on: { click: () => this.save(format) } }),
    );
    fill(this.list, buttons);
  }

  url(format) {
    return `/v1/transcripts/${this.jobId}?format=${format}`;
  }

  async save(format) {
    this.close();
    try {
      // Only this page knows the names that the user gave to voices.
      const blob =
        format.name === "text"
          ? new Blob([this.text(), "\n"], { type: "text/plain" })
          : await (await request(this.url(format.name), { headers: { Accept: "*/*" } })).blob();
      download(blob, `transcript-${this.jobId.slice(-8)}.${format.extension}`);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      notify(`${problem.title}: ${problem.message}`);
    }
  }
}

/** Reads the formats from the OpenAPI document, once. */
function availableFormats() {
  formats ??= get("/v1/openapi.json").then((document) => {
    const { parameters } = document.paths["/v1/transcripts/{job_id}"].get;
    return parameters.find((parameter) => parameter.name === "format").schema.enum;
  });
  return formats.catch(() => ["text", "json"]);
}

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
