/** The transcript viewer: playable words, named voices and downloads. */

import { Downloads } from "./downloads.js";
import { button, fill, h, notify } from "./dom.js";
import { Player } from "./player.js";
import { clock } from "./format.js";
import { segmentsOf, spokenAt, textOf } from "./segments.js";

const LOW_CONFIDENCE = 0.6;
const COLORS = 6;

export class TranscriptViewer {
  constructor({ transcript, jobId }) {
    this.jobId = jobId;
    this.read = segmentsOf(transcript);
    this.sorted = [...this.read.words].sort((one, other) => one.start - other.start);
    this.names = this.loadNames();
    this.player = new Player({ onTime: (seconds) => this.highlight(seconds) });
    this.lit = [];
    this.current = -1;
    this.audioSlot = h("div", { class: "sound" });
    this.element = h(
      "section",
      { class: "transcript card", "aria-label": "Transcript" },
      this.head(transcript),
      this.legend(),
      this.body(),
      h("div", { class: "dock" }, this.audioSlot, this.player.element),
    );
  }

  head(transcript) {
    const sure = transcript.confidence;
    const facts = [
      `${this.read.words.length} words`,
      clock(transcript.duration_seconds),
      transcript.model,
      sure !== null && sure !== undefined && `${Math.round(sure * 100)}\u00a0%\u00a0confidence`,
    ];
    return h(
      "header",
      { class: "transcript-head" },
      h("div", {}, h("h2", {}, "Transcript"), h("p", { class: "faint" }, facts.filter(Boolean).join(" · "))),
      h(
        "div",
        { class: "row" },
        button("Copy", { glyph: "copy", on: { click: () => this.copy() } }),
        new Downloads({ jobId: this.jobId, text: () => this.text() }).element,
      ),
    );
  }

  legend() {
    if (this.read.voices.length < 2) return null;
    const entries = this.read.voices.map((voice) =>
      h(
        "label",
        { class: `voice ${this.colorOf(voice)}` },
        h("span", { class: "sr" }, `Name of ${voice}`),
        h("input", {
          type: "text",
          value: this.names[voice] ?? voice,
          maxlength: "40",
          size: "12",
          spellcheck: "false",
          on: { change: (event) => this.rename(voice, event.target.value) },
        }),
      ),
    );
    return h("div", { class: "legend", role: "group", "aria-label": "Voices: edit a name to change it in the text" }, entries);
  }

  body() {
    if (this.read.words.length === 0) {
      return h("p", { class: "nothing-said" }, "No speech was recognized in this audio.");
    }
    const hint = h(
      "p",
      { class: "hint", id: `hint-${this.jobId}` },
      "Click a word to play it. ",
      h("span", { class: "keys" }, "Keyboard: arrow keys move, Enter plays from the word, Space plays and pauses."),
    );
    this.words = h(
      "div",
      {
        class: "words",
        tabindex: "0",
        role: "group",
        "aria-label": "Words",
        "aria-describedby": hint.id,
        on: {
          click: (event) => this.handleClick(event),
          keydown: (event) => this.handleKey(event),
        },
      },
      this.read.segments.map((segment) => this.paragraph(segment)),
    );
    return [hint, this.words];
  }

  paragraph(segment) {
    const isNamed = this.read.voices.length > 1;
    const start = clock(segment.start);
    const words = segment.words.flatMap((word) => {
      const unsure = word.confidence !== undefined && word.confidence < LOW_CONFIDENCE;
      word.element = h("span", { class: unsure ? "word unsure" : "word", data: { index: word.index } }, word.text);
      return [word.element, " "];
    });
    return h(
      "div",
      { class: `segment ${isNamed ? this.colorOf(segment.voice) : ""}` },
      h(
        "p",
        { class: "segment-head" },
        isNamed && h("span", { class: "voice-name", data: { voice: segment.voice } }, this.nameOf(segment.voice)),
        h(
          "button",
          { type: "button", class: "stamp", "aria-label": `Play from ${start}`, data: { index: segment.words[0].index } },
          start,
        ),
      ),
      h("p", { class: "said" }, words),
    );
  }

  /** Enables playback. */
  loadSound(blob) {
    fill(this.audioSlot);
    this.element.classList.add("has-sound");
    this.player.load(blob);
  }

  /** Shows why there is no audio, or a button to load it. */
  showAudioMessage(...content) {
    fill(this.audioSlot, ...content);
  }

  handleClick(event) {
    const found = event.target.closest("[data-index]");
    if (!found) return;
    this.moveTo(Number(found.dataset.index));
    this.player.playFrom(this.read.words[this.current].start);
  }

  handleKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target !== this.words) return; // buttons handle their own keys
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: "up", ArrowDown: "down" };
    if (event.key in moves) this.moveBy(moves[event.key]);
    else if (event.key === " ") this.player.toggle();
    else if (event.key === "Enter") this.player.playFrom(this.read.words[Math.max(0, this.current)].start);
    else return;
    event.preventDefault();
  }

  moveBy(move) {
    if (typeof move === "number") {
      this.moveTo(Math.min(this.read.words.length - 1, Math.max(0, this.current + move)));
      return;
    }
    const now = Math.max(0, this.current);
    const heads = this.read.segments.map((segment) => segment.words[0].index);
    const next = move === "down" ? heads.find((index) => index > now) : heads.findLast((index) => index < now);
    this.moveTo(next ?? (move === "down" ? this.read.words.length - 1 : 0));
  }

  moveTo(index) {
    this.read.words[this.current]?.element.classList.remove("chosen");
    this.current = index;
    const word = this.read.words[index];
    word.element.classList.add("chosen");
    word.element.scrollIntoView({ block: "nearest" });
    if (this.player.isLoaded && this.player.sound.paused) this.player.seek(word.start);
  }

  /** Highlights the words spoken at a time. */
  highlight(seconds) {
    const spoken = spokenAt(this.sorted, seconds);
    if (spoken.length === this.lit.length && spoken.every((word, place) => word === this.lit[place])) return;
    for (const word of this.lit) word.element.classList.remove("lit");
    for (const word of spoken) word.element.classList.add("lit");
    this.lit = spoken;
    if (spoken.length && !this.player.sound.paused) spoken.at(-1).element.scrollIntoView({ block: "nearest" });
  }

  colorOf(voice) {
    return `voice-${Math.max(0, this.read.voices.indexOf(voice)) % COLORS}`;
  }

  nameOf(voice) {
    return this.names[voice] ?? voice;
  }

  loadNames() {
    return JSON.parse(sessionStorage.getItem(`console.names.${this.jobId}`) ?? "{}");
  }

  rename(voice, name) {
    this.names[voice] = name.trim() || voice;
    sessionStorage.setItem(`console.names.${this.jobId}`, JSON.stringify(this.names));
    for (const shown of this.element.querySelectorAll(".voice-name")) {
      if (shown.dataset.voice === voice) shown.textContent = this.nameOf(voice);
    }
  }

  text() {
    return textOf(this.read, (voice) => this.nameOf(voice));
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.text());
      notify("Copied.");
    } catch {
      notify("The browser does not allow copying. Download the text instead.");
    }
  }

  release() {
    this.player.release();
  }
}
