/** The level of what comes in, as bars that walk to the left. */

import { h } from "./dom.js";

const BARS = 48;
const TOLD_MS = 500;

export class Meter {
  constructor() {
    this.bars = Array.from({ length: BARS }, () => h("span", {}));
    this.levels = new Array(BARS).fill(0);
    this.element = h(
      "div",
      { class: "meter", role: "meter", "aria-label": "Input level", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "0" },
      this.bars,
    );
    this.toldAt = 0;
  }

  /** Forget what was heard before. */
  clear() {
    this.levels.fill(0);
    this.bars.forEach((bar) => bar.style.setProperty("--level", "0"));
    this.element.setAttribute("aria-valuenow", "0");
  }

  push(peak) {
    // As loudness is heard, not as it is measured.
    const level = Math.min(1, Math.sqrt(peak) * 1.1);
    this.levels.push(level);
    this.levels.shift();
    this.bars.forEach((bar, place) => bar.style.setProperty("--level", this.levels[place].toFixed(3)));
    if (Date.now() - this.toldAt < TOLD_MS) return;
    this.toldAt = Date.now();
    this.element.setAttribute("aria-valuenow", String(Math.round(level * 100)));
  }
}
