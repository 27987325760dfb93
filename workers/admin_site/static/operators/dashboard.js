// Fetch the figures again and again, show them, and say how old they are.
import { h } from "./dom.js";
import * as panels from "./panels.js";
import { seconds } from "./format.js";

const EVERY = 5000;
const TODAY_EVERY = 60000;
const PARTIAL_EVERY = 500;
const OLD_SECONDS = 20;
const root = document.querySelector("#dashboard");
const urls = root.dataset;
const freshness = document.querySelector("#freshness");
const hold = document.querySelector("#hold");
const lists = {
  jobs: urls.jobs, latency: `${urls.jobs}?status__exact=completed`, backlog: `${urls.jobs}?status__exact=queued`, regions: urls.regions,
  workers: urls.workers, webhooks: urls.deliveries, tenants: urls.tenants, cost: urls.attempts,
};
const seen = { now: null, today: null };
const trouble = { now: "", today: "" };
let receivedAt = 0;

async function get(part) {
  const answer = await fetch(urls[part], { headers: { Accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(15000) });
  if (answer.redirected || answer.status === 403) throw new Error("You are not logged in any more: load the page again.");
  if (!answer.ok) throw new Error(`The server answers ${answer.status}.`);
  return answer.json();
}

function show() {
  const { now, today } = seen;
  if (now) {
    for (const name of ["jobs", "latency", "backlog", "regions", "workers", "webhooks"]) panels[name](now, urls);
    panels.tiles(now, today, urls);
    showTroubles(now.troubles);
  }
  if (today) for (const name of ["tenants", "cost"]) panels[name](today, urls);
}

function showTroubles(found) {
  const place = document.querySelector("#troubles");
  const key = JSON.stringify(found);
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren(...(found.length
    ? found.map(({ level, text, panel }) => h("li", { class: level }, h("a", { href: `#panel-${panel}` }, text)))
    : [h("li", { class: "good" }, "All is well: nothing needs attention.")]));
}

function showAge() {
  const age = (Date.now() - receivedAt) / 1000;
  const isHeld = hold.getAttribute("aria-pressed") === "true";
  const isOld = receivedAt && age > OLD_SECONDS && !isHeld;
  const wrong = trouble.now || trouble.today;
  root.classList.toggle("old", Boolean(isOld || trouble.now));
  let text = "Loading…";
  if (receivedAt) {
    const when = age < OLD_SECONDS ? "Up to date" : `${seconds(age)} old`;
    text = isHeld ? `Paused: ${seconds(age)} old` : wrong ? `${when}. ${wrong}` : when;
  } else if (wrong) text = wrong;
  if (freshness.textContent !== text) freshness.textContent = text;
}

async function look(part) {
  try {
    seen[part] = await get(part);
    trouble[part] = "";
    if (part === "now") receivedAt = Date.now();
    show();
  } catch (error) {
    trouble[part] = error.name === "TypeError" || error.name === "TimeoutError" ? "The server does not answer." : error.message;
  }
  showAge();
}

async function repeat(part, every) {
  for (;;) {
    if (hold.getAttribute("aria-pressed") !== "true" && !document.hidden) await look(part);
    const isWhole = seen[part]?.is_whole ?? true;
    await new Promise((done) => setTimeout(done, isWhole ? every : PARTIAL_EVERY));
  }
}

hold.addEventListener("click", () => {
  const isHeld = hold.getAttribute("aria-pressed") !== "true";
  hold.setAttribute("aria-pressed", isHeld);
  hold.textContent = isHeld ? "Go on" : "Pause";
  showAge();
  if (!isHeld) look("now");
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) look("now"); });
for (const link of document.querySelectorAll("a.more")) {
  if (lists[link.dataset.of]) link.href = lists[link.dataset.of];
  else link.hidden = true;
}
let width = root.clientWidth;
new ResizeObserver(() => {
  if (Math.abs(root.clientWidth - width) < 2) return;
  width = root.clientWidth;
  show();
}).observe(root);
setInterval(showAge, 1000);
repeat("now", EVERY);
repeat("today", TODAY_EVERY);
