// Renders each panel from the statistics.
import { columns, lines } from "./charts.js";
import { bar, h } from "./dom.js";
import * as format from "./format.js";

const OUTCOMES = ["completed", "failed", "expired", "canceled"];
const PRIORITIES = ["Urgent", "High", "Normal", "Low"];
const QUANTILES = ["p50", "p95", "p99"];
const TONES = {
  well: "good", pinned: "busy", drained: "warn", disabled: "warn", "cooling down": "warn", unknown: "warn",
  paused: "bad", "breaker open": "bad",
};

const body = (id) => document.querySelector(`[data-body="${id}"]`);
const empty = (text) => h("p", { class: "empty" }, text);
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const table = (head, rows) =>
  h("table", {}, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows));

function legend(id, names) {
  const place = body(id).parentElement.querySelector(".legend");
  place.hidden = false;
  place.replaceChildren(...names.map((name) => h("span", {}, h("i", { class: `fill ${name.toLowerCase()}` }), name.toLowerCase())));
}

export function jobs(statistics) {
  legend("jobs", OUTCOMES);
  const data = statistics.minutes.map(({ at, ended }) => ({
    label: format.clock(at),
    title: `${format.clock(at)} UTC: ${OUTCOMES.map((name) => `${ended[name] ?? 0} ${name}`).join(", ")}`,
    parts: OUTCOMES.map((name) => ({ kind: name, value: ended[name] ?? 0 })),
  }));
  const all = OUTCOMES.map((name) => `${sum(statistics.minutes.map(({ ended }) => ended[name] ?? 0))} ${name}`);
  columns(body("jobs"), data, { label: `Jobs that ended in the last hour: ${all.join(", ")}`, text: format.count });
}

export function latency(statistics) {
  legend("latency", QUANTILES);
  const points = statistics.minutes.map(({ at, seconds }) => ({
    label: format.clock(at),
    title: `${format.clock(at)} UTC: ${seconds.length ? seconds.map((value, n) => `${QUANTILES[n]} ${format.seconds(value)}`).join(", ") : "none completed"}`,
    values: seconds,
  }));
  if (!points.some(({ values }) => values.length)) return body("latency").replaceChildren(empty("No job completed in the last hour."));
  const last = points.findLast(({ values }) => values.length);
  return lines(body("latency"), points, { label: `Time to result, latest: ${last.title}`, kinds: QUANTILES, text: format.seconds });
}

export function backlog({ backlog: waiting }, urls) {
  const place = body("backlog");
  legend("backlog", PRIORITIES);
  if (!waiting.tenants.length) return place.replaceChildren(empty(waiting.later ? `No job is ready; ${format.count(waiting.later)} are held or delayed.` : "The queue is empty."));
  const most = Math.max(...waiting.tenants.map(({ seconds }) => sum(Object.values(seconds))), 1);
  const rows = waiting.tenants.map(({ tenant, name, jobs: number, seconds }) => {
    const parts = PRIORITIES.map((each) => ({ share: (seconds[each] ?? 0) / most, kind: each.toLowerCase(), title: `${each}: ${format.audio(seconds[each] ?? 0)}` }));
    const label = PRIORITIES.filter((each) => seconds[each]).map((each) => `${each} ${format.audio(seconds[each])}`).join(", ");
    return h("tr", {}, h("th", { scope: "row" }, h("a", { href: `${urls.jobs}?tenant__id__exact=${tenant}&status__exact=queued` }, name || tenant)),
      h("td", { class: "wide" }, bar(parts, { label })), h("td", { class: "number" }, format.audio(sum(Object.values(seconds)))), h("td", { class: "number faint" }, `${format.count(number)} jobs`));
  });
  const rest = waiting.tenant_count - waiting.tenants.length;
  const notes = [rest > 0 ? `${rest} more tenants` : "", waiting.later ? `${format.count(waiting.later)} jobs held or delayed` : "", waiting.is_estimate ? "estimated from a sample" : ""].filter(Boolean);
  return place.replaceChildren(h("table", { class: "bars" }, h("tbody", {}, rows)), notes.length ? h("p", { class: "note foot" }, notes.join(" · ")) : "");
}

function meter({ name, used, limit }) {
  const share = used === null || !limit ? 0 : used / limit;
  const kind = share >= 0.98 ? "failed" : share >= 0.8 ? "expired" : "completed";
  const text = used === null ? "?" : format.count(used);
  return h("div", { class: "meter" }, h("span", {}, name), bar([{ share, kind }], { label: `${name}: ${text} of ${limit}` }), h("span", { class: "number" }, `${text} / ${format.count(limit)}`));
}

export function regions({ regions: all, is_redis_away: isAway }, urls) {
  const cards = all.map((region) => {
    const facts = [region.is_pinned && region.state !== "pinned" ? "pinned" : "", region.breaker ? `breaker ${region.breaker}` : "", region.cooldown_seconds ? `cooldown ${Math.ceil(region.cooldown_seconds)} s` : "", region.state === "paused" ? region.reason : ""].filter(Boolean);
    return h("div", { class: "region" }, h("p", {}, h("a", { href: `${urls.regions}${encodeURIComponent(region.name)}/change/` }, region.name),
      h("span", { class: `state ${TONES[region.state]}` }, region.state), h("span", { class: "faint" }, facts.join(" · "))), region.limits.map(meter));
  });
  const away = isAway ? h("p", { class: "away" }, "Redis does not respond: permits in use, breakers and pauses are unknown.") : "";
  body("regions").replaceChildren(away, ...(cards.length ? cards : [empty("No region is configured.")]));
}

export function workers({ workers: all, at }) {
  if (!all.shown.length) return body("workers").replaceChildren(empty("No worker is alive."));
  const rows = all.shown.map((worker) => {
    const ago = format.seconds((new Date(at) - new Date(worker.seen_at)) / 1000);
    const place = worker.is_stale ? h("span", { class: "state warn" }, `no heartbeat for ${ago}`) : bar([{ share: worker.slots ? worker.busy / worker.slots : 0, kind: "completed" }], { label: `${worker.busy} of ${worker.slots} slots` });
    return h("tr", {}, h("th", { scope: "row", title: worker.name }, worker.name.split(".").slice(0, 2).join(".")), h("td", { class: "wide" }, place), h("td", { class: "number" }, `${worker.busy} / ${worker.slots}`));
  });
  const rest = all.alive + all.stale - all.shown.length;
  return body("workers").replaceChildren(h("p", { class: "big" }, `${format.count(all.busy)} of ${format.count(all.slots)}`, h("span", { class: "faint" }, ` slots, ${all.alive} alive`)), h("table", { class: "bars" }, h("tbody", {}, rows)), rest > 0 ? h("p", { class: "note foot" }, `${rest} more`) : "");
}

export function webhooks({ webhooks: hour }, urls) {
  if (!hour.attempts) return body("webhooks").replaceChildren(empty("No webhook was sent in the last hour."));
  const rows = hour.slowest.map((target) => h("tr", {},
    h("th", { scope: "row" }, target.endpoint ? h("a", { href: `${urls.endpoints}${target.endpoint}/change/` }, target.host) : target.host),
    h("td", { class: "number" }, format.seconds(target.p95_ms / 1000)),
    h("td", { class: "number" }, h("span", { class: target.succeeded < target.attempts * 0.9 ? "bad-text" : "" }, format.percent(target.succeeded / target.attempts))),
    h("td", { class: "number faint" }, format.count(target.attempts))));
  return body("webhooks").replaceChildren(table(["Target", "p95", "Success", "Attempts"], rows));
}

export function tenants(today, urls) {
  if (!today.top.length) return body("tenants").replaceChildren(empty("No audio today."));
  const most = Math.max(...today.top.map((each) => each.audio_seconds), 1);
  const rows = today.top.map((each) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: `${urls.tenants}${each.tenant}/change/` }, each.name || each.tenant)),
    h("td", { class: "wide" }, bar([{ share: each.audio_seconds / most, kind: "completed" }], { label: format.audio(each.audio_seconds) })), h("td", { class: "number" }, format.audio(each.audio_seconds)), h("td", { class: "number" }, format.dollars(each.cost))));
  return body("tenants").replaceChildren(h("table", { class: "bars" }, h("tbody", {}, rows)));
}

export function cost(today) {
  const data = Array.from({ length: 24 }, (_, hour) => {
    const value = today.cost_by_hour[hour] ?? 0;
    const label = `${String(hour).padStart(2, "0")}:00`;
    return { label, title: `${label}: ${format.dollars(value)}`, parts: [{ kind: "completed", value }] };
  });
  columns(body("cost"), data, { label: `Cost today: ${format.dollars(today.cost)}`, text: format.dollars });
}

const tile = (name, value, note, href, kind) =>
  h("div", { class: kind ? `tile ${kind}` : "tile" }, h("dt", {}, href ? h("a", { href }, name) : name), h("dd", {}, h("strong", {}, value), note ? h("span", {}, note) : null));

export function tiles(now, today, urls) {
  const whole = now.minutes.slice(-6, -1);
  const perMinute = sum(whole.map(({ ended }) => sum(Object.values(ended)))) / Math.max(1, whole.length);
  const failed = sum(now.minutes.map(({ ended }) => ended.failed ?? 0));
  const last = now.minutes.findLast(({ seconds }) => seconds.length);
  const { backlog: waiting, webhooks: hooks } = now;
  document.querySelector("#tiles").replaceChildren(
    tile("Waiting", (waiting.is_estimate ? "about " : "") + format.audio(waiting.audio_seconds), `${format.count(waiting.jobs)} jobs`, `${urls.jobs}?status__exact=queued`),
    tile("Oldest job", waiting.jobs ? format.seconds(waiting.oldest_seconds) : "–", "ready to run", "", waiting.oldest_seconds > 600 ? "warn" : ""),
    tile("Ended", `${format.count(perMinute)} / min`, "last 5 minutes", urls.jobs),
    tile("Failed", format.count(failed), "last hour", `${urls.jobs}?status__exact=failed`, failed ? "bad" : ""),
    tile("Time to result", last ? format.seconds(last.seconds[1]) : "–", "p95, latest minute", ""),
    tile("Webhooks", hooks.attempts ? format.percent(hooks.succeeded / hooks.attempts) : "–", hooks.attempts ? `of ${format.count(hooks.attempts)} attempts` : "none in the last hour", urls.deliveries, hooks.attempts >= 20 && hooks.succeeded < hooks.attempts * 0.9 ? "warn" : ""),
    tile("Cost today", today ? format.dollars(today.cost) : "…", today ? `${format.count(today.calls)} calls${today.is_whole ? "" : " so far"}` : "", urls.attempts),
  );
}
