/** The live transcript: final words stay, interim ones are replaced. */

import { fill, h, icon } from "./dom.js";
import { codeLink } from "./problem.js";
import { clock } from "./format.js";

export class LiveText {
  constructor() {
    this.finals = h("div", { class: "live-finals", role: "log", "aria-label": "Transcript", "aria-live": "polite" });
    // Screen readers read final words only: interim ones change.
    this.interim = h("p", { class: "live-interim", "aria-hidden": "true" });
    this.element = h("section", { class: "live-text card", "aria-label": "Words", tabindex: "0", hidden: true }, this.finals, this.interim);
    this.clear();
  }

  clear() {
    fill(this.finals);
    fill(this.interim);
    this.paragraph = null;
    this.voice = null;
    this.element.hidden = true;
  }

  add(message) {
    this.element.hidden = false;
    if (message.is_final) {
      this.addWords(message);
      fill(this.interim);
      if (message.speech_final) this.endUtterance();
    } else {
      this.interim.textContent = message.text;
    }
    this.keepInView();
  }

  addWords(message) {
    const words = message.words?.length ? message.words : message.text ? [{ word: message.text, start: message.start }] : [];
    for (const word of words) {
      if (!this.paragraph || (word.speaker ?? null) !== this.voice) this.startSegment(word);
      this.paragraph.append(h("span", { class: "word new" }, word.punctuated_word ?? word.word), " ");
    }
  }

  startSegment(word) {
    this.voice = word.speaker ?? null;
    this.paragraph = h("p", { class: "said" });
    const isNamed = this.voice !== null;
    this.finals.append(
      h(
        "div",
        { class: `segment ${isNamed ? `voice-${this.voice % 6}` : ""}` },
        h("p", { class: "segment-head" }, isNamed && h("span", { class: "voice-name" }, `Speaker ${this.voice + 1}`), h("span", { class: "stamp" }, clock(word.start))),
        this.paragraph,
      ),
    );
  }

  endUtterance() {
    this.paragraph = null;
  }

  warn(text, code = "") {
    this.element.hidden = false;
    this.finals.append(h("p", { class: "live-warning" }, icon("alert"), h("span", {}, text, code && [" ", codeLink(code, false)])));
    this.paragraph = null;
    this.keepInView();
  }

  keepInView() {
    this.element.scrollTop = this.element.scrollHeight;
  }
}
