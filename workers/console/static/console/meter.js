/** Input level meter: bars that move to the left. */

import { h } from "./dom.js";

const BARS = 48;
const ANNOUNCE_MS = 500;

export class Meter {
  constructor() {
    this.bars = Array.from({ length: BARS }, () => h("span", {}));
    this.levels = new Array(BARS).fill(0);
    this.element = h(
      "div",
      { class: "meter", role: "meter", "aria-label": "Input level", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "0" },
      this.bars,
    );
    this.announcedAt = 0;
  }

  /** Resets the meter. */
  clear() {
    this.levels.fill(0);
    this.bars.forEach((bar) => bar.style.setProperty("--level", "0"));
    this.element.setAttribute("aria-valuenow", "0");
  }

  push(peak) {
    // Approximates perceived loudness.
    const level = Math.min(1, Math.sqrt(peak) * 1.1);
    this.levels.push(level);
    this.levels.shift();
    this.bars.forEach((bar, index) => bar.style.setProperty("--level", this.levels[index].toFixed(3)));
    if (Date.now() - this.announcedAt < ANNOUNCE_MS) return;
    this.announcedAt = Date.now();
    this.element.setAttribute("aria-valuenow", String(Math.round(level * 100)));
  }
}
