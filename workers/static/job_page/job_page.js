/** A job's page: on demand, what was said, its words lit while they are heard. */

import { h } from "../console/dom.js";
import { clock } from "../console/say.js";
import { segmentsOf, spokenAt } from "../console/segments.js";

const UNSURE = 0.6;
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

function player(address) {
  const sound = h("audio", { controls: true, preload: "metadata", src: address, "aria-label": "The audio" });
  sound.addEventListener("error", () => {
    sound.replaceWith(h("p", { class: "help" }, "The audio cannot be played here: it is gone, or of a kind this browser does not know."));
  });
  return sound;
}

async function transcript(address, sound) {
  const answer = await fetch(address, { headers: { Accept: "application/json" } });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) return h("p", { class: "help" }, told.detail ?? `The server answered ${answer.status}.`);
  const read = segmentsOf(told);
  if (read.words.length === 0) return h("p", { class: "help" }, "No speech was recognised in this audio.");
  const words = h("div", { class: sound ? "words heard" : "words" }, read.segments.map((segment) => paragraph(segment, read, sound)));
  if (sound) follow(sound, read.words);
  return words;
}

function paragraph(segment, read, sound) {
  const words = segment.words.flatMap((word) => {
    const unsure = word.confidence !== undefined && word.confidence < UNSURE;
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
