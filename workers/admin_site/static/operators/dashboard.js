// Fetches the statistics periodically and shows them and their age.
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
const errors = { now: "", today: "" };
let receivedAt = 0;

async function get(part) {
  const response = await fetch(urls[part], { headers: { Accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(15000) });
  if (response.redirected || response.status === 403) throw new Error("Your session has expired. Reload the page.");
  if (!response.ok) throw new Error(`The server responded ${response.status}.`);
  return response.json();
}

function show() {
  const { now, today } = seen;
  if (now) {
    for (const name of ["jobs", "latency", "backlog", "regions", "workers", "webhooks"]) panels[name](now, urls);
    panels.tiles(now, today, urls);
    showAlerts(now.troubles);
  }
  if (today) for (const name of ["tenants", "cost"]) panels[name](today, urls);
}

function showAlerts(found) {
  const place = document.querySelector("#troubles");
  const key = JSON.stringify(found);
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren(...(found.length
    ? found.map(({ level, text, panel }) => h("li", { class: level }, h("a", { href: `#panel-${panel}` }, text)))
    : [h("li", { class: "good" }, "No alerts.")]));
}

function showAge() {
  const age = (Date.now() - receivedAt) / 1000;
  const isPaused = hold.getAttribute("aria-pressed") === "true";
  const isOld = receivedAt && age > OLD_SECONDS && !isPaused;
  const error = errors.now || errors.today;
  root.classList.toggle("old", Boolean(isOld || errors.now));
  let text = "Loading…";
  if (receivedAt) {
    const when = age < OLD_SECONDS ? "Up to date" : `${seconds(age)} old`;
    text = isPaused ? `Paused: ${seconds(age)} old` : error ? `${when}. ${error}` : when;
  } else if (error) text = error;
  if (freshness.textContent !== text) freshness.textContent = text;
}

async function update(part) {
  try {
    seen[part] = await get(part);
    errors[part] = "";
    if (part === "now") receivedAt = Date.now();
    show();
  } catch (error) {
    errors[part] = error.name === "TypeError" || error.name === "TimeoutError" ? "The server does not respond." : error.message;
  }
  showAge();
}

async function repeat(part, every) {
  for (;;) {
    if (hold.getAttribute("aria-pressed") !== "true" && !document.hidden) await update(part);
    const isComplete = seen[part]?.is_whole ?? true;
    await new Promise((done) => setTimeout(done, isComplete ? every : PARTIAL_EVERY));
  }
}

hold.addEventListener("click", () => {
  const isPaused = hold.getAttribute("aria-pressed") !== "true";
  hold.setAttribute("aria-pressed", isPaused);
  hold.textContent = isPaused ? "Resume" : "Pause";
  showAge();
  if (!isPaused) update("now");
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) update("now"); });
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
