/** An audio player that reports its position; hidden without audio. */

import { button, fill, h, icon } from "./dom.js";
import { clock } from "./format.js";

const STEP_SECONDS = 5;
const SPEEDS = [1, 1.25, 1.5, 2, 0.75];

export class Player {
  constructor({ onTime }) {
    this.onTime = onTime;
    this.sound = h("audio", { preload: "auto" });
    this.speed = 0;
    this.toggleButton = h("button", { type: "button", class: "play", on: { click: () => this.toggle() } });
    this.slider = h("input", {
      type: "range",
      min: "0",
      max: "1",
      step: "0.05",
      value: "0",
      "aria-label": "Position",
      on: { input: () => this.seek(Number(this.slider.value)) },
    });
    this.at = h("span", { class: "time" }, "0:00");
    this.length = h("span", { class: "time faint" }, "0:00");
    this.speedButton = button("1×", { kind: "quiet small speed", "aria-label": "Speed: 1 times", on: { click: () => this.faster() } });
    this.element = h(
      "div",
      { class: "player", role: "group", "aria-label": "Audio player", hidden: true },
      this.toggleButton,
      this.at,
      this.slider,
      this.length,
      this.speedButton,
      this.sound,
    );
    for (const name of ["play", "pause", "ended"]) this.sound.addEventListener(name, () => this.show());
    this.sound.addEventListener("seeked", () => this.showPosition());
    this.sound.addEventListener("loadedmetadata", () => this.show());
    this.show();
  }

  get isLoaded() {
    return this.sound.src !== "";
  }

  /** Loads a blob; `release` frees it. */
  load(blob) {
    this.release();
    this.url = URL.createObjectURL(blob);
    this.sound.src = this.url;
    this.element.hidden = false;
  }

  toggle() {
    if (!this.isLoaded) return;
    if (this.sound.paused) this.play();
    else this.sound.pause();
  }

  play() {
    // Browsers may require a click first; the button still works.
    this.sound.play().catch(() => {});
    this.watch();
  }

  playFrom(seconds) {
    if (!this.isLoaded) return;
    this.sound.currentTime = seconds;
    this.play();
  }

  seek(seconds) {
    this.sound.currentTime = seconds;
    this.showPosition();
  }

  step(direction) {
    if (this.isLoaded) this.seek(Math.max(0, this.sound.currentTime + direction * STEP_SECONDS));
  }

  faster() {
    this.speed = (this.speed + 1) % SPEEDS.length;
    const times = SPEEDS[this.speed];
    this.sound.playbackRate = times;
    this.speedButton.setAttribute("aria-label", `Speed: ${times} times`);
    fill(this.speedButton, h("span", {}, `${times}×`));
  }

  watch() {
    cancelAnimationFrame(this.frame);
    const look = () => {
      this.showPosition();
      if (!this.sound.paused) this.frame = requestAnimationFrame(look);
    };
    look();
  }

  showPosition() {
    const seconds = this.sound.currentTime;
    this.at.textContent = clock(seconds);
    this.slider.value = String(seconds);
    this.slider.setAttribute("aria-valuetext", `${clock(seconds)} of ${this.length.textContent}`);
    this.onTime(seconds);
  }

  show() {
    const isPlaying = !this.sound.paused && !this.sound.ended;
    fill(this.toggleButton, icon(isPlaying ? "pause" : "play"));
    this.toggleButton.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    const length = this.sound.duration;
    if (Number.isFinite(length)) {
      this.slider.max = String(length);
      this.length.textContent = clock(length);
    }
  }

  release() {
    cancelAnimationFrame(this.frame);
    this.sound.pause();
    if (this.url) URL.revokeObjectURL(this.url);
  }
}
