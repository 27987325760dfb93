/** The forms in which a transcript can be taken away: those this platform has. */

import { ask, get, Problem } from "./api.js";
import { button, fill, h, note } from "./dom.js";

const FORMATS = [
  { name: "text", label: "Text", ending: "txt" },
  { name: "srt", label: "Subtitles (SRT)", ending: "srt" },
  { name: "vtt", label: "Subtitles (WebVTT)", ending: "vtt" },
  { name: "json", label: "JSON, word by word", ending: "json" },
  { name: "raw", label: "Deepgram’s document", ending: "deepgram.json" },
];
let known = null;

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
    const there = await formatsThere();
    const buttons = FORMATS.filter((format) => there.includes(format.name)).map((format) =>
      button(format.label, { kind: "plain", on: { click: () => this.save(format) } }),
    );
    fill(this.list, buttons);
  }

  address(format) {
    return `/v1/transcripts/${this.jobId}?format=${format}`;
  }

  async save(format) {
    this.close();
    try {
      // The names that voices were given are only known here.
      const blob =
        format.name === "text"
          ? new Blob([this.text(), "\n"], { type: "text/plain" })
          : await (await ask(this.address(format.name), { headers: { Accept: "*/*" } })).blob();
      hand(blob, `transcript-${this.jobId.slice(-8)}.${format.ending}`);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      note(`${problem.title}: ${problem.message}`);
    }
  }
}

/** Ask the platform's own description, once, which forms it makes. */
function formatsThere() {
  known ??= get("/v1/openapi.json").then((document) => {
    const { parameters } = document.paths["/v1/transcripts/{job_id}"].get;
    return parameters.find((parameter) => parameter.name === "format").schema.enum;
  });
  return known.catch(() => ["text", "json"]);
}

function hand(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
