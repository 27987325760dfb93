/** Admin page of a job: loads transcript and audio on demand, highlights spoken words. */

import { h } from "../console/dom.js";
import { clock } from "../console/format.js";
import { segmentsOf, spokenAt } from "../console/segments.js";

const LOW_CONFIDENCE = 0.6;
const place = document.getElementById("content-of-job");
const here = document.getElementById("said-here");
const show = document.getElementById("show-content");

show.addEventListener("click", async () => {
  show.disabled = true;
  const sound = place.dataset.audio ? player(place.dataset.audio) : null;
  const text = place.dataset.transcript ? await transcript(place.dataset.transcript, sound) : null;
  here.replaceChildren(...[text, sound].filter(Boolean));
  show.hidden = true;
});

function player(url) {
  const sound = h("audio", { controls: true, preload: "metadata", src: url, "aria-label": "Audio" });
  sound.addEventListener("error", () => {
    sound.replaceWith(h("p", { class: "help" }, "The audio cannot be played: it was deleted, or this browser does not support its format."));
  });
  return sound;
}

async function transcript(url, sound) {
  const response = await fetch(url, { headers: { Accept: "application/json" } });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) return h("p", { class: "help" }, body.detail ?? `The server responded ${response.status}.`);
  const read = segmentsOf(body);
  if (read.words.length === 0) return h("p", { class: "help" }, "No speech was recognized in this audio.");
  const words = h("div", { class: sound ? "words heard" : "words" }, read.segments.map((segment) => paragraph(segment, read, sound)));
  if (sound) follow(sound, read.words);
  return words;
}

function paragraph(segment, read, sound) {
  const words = segment.words.flatMap((word) => {
    const unsure = word.confidence !== undefined && word.confidence < LOW_CONFIDENCE;
    word.element = h("span", { class: unsure ? "word unsure" : "word", on: sound ? { click: () => playFrom(sound, word.start) } : {} }, word.text);
    return [word.element, " "];
  });
  return h(
    "p",
    {},
    h("span", { class: "stamp" }, clock(segment.start)),
    read.voices.length > 1 && h("span", { class: "voice" }, segment.voice),
    words,
  );
}

function playFrom(sound, seconds) {
  sound.currentTime = seconds;
  sound.play().catch(() => {});
}

function follow(sound, words) {
  const sorted = [...words].sort((one, other) => one.start - other.start);
  let lit = [];
  const look = () => {
    for (const word of lit) word.element.classList.remove("lit");
    lit = spokenAt(sorted, sound.currentTime);
    for (const word of lit) word.element.classList.add("lit");
    if (!sound.paused) requestAnimationFrame(look);
  };
  for (const name of ["play", "seeked"]) sound.addEventListener(name, look);
}
