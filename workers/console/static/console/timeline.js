/** What happened to a job: its events and the calls made for it, in the order of time. */

import { h } from "./dom.js";
import { codeLink } from "./problem.js";
import { STATUSES, timeOfDay } from "./say.js";

const OUTCOMES = { open: "under way", ok: "answered", error: "failed", unknown: "end unknown" };

export function timelineOf(job, attempts, events) {
  const entries = [...(events.length ? events.map(ofEvent) : ofJob(job)), ...attempts.flatMap(ofAttempt)];
  entries.sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
  return h(
    "ol",
    { class: "timeline" },
    entries.map((entry) =>
      h(
        "li",
        { class: `entry ${entry.kind}` },
        h("time", { class: "faint", datetime: entry.at }, timeOfDay(entry.at)),
        h("div", {}, h("p", {}, entry.title), entry.more && h("p", { class: "faint" }, entry.more)),
      ),
    ),
  );
}

function ofEvent(event) {
  const { data = {}, status, timestamp } = event;
  const told = [
    data.cause && codeLink(data.cause),
    data.error && codeLink(typeof data.error === "object" ? data.error.code : data.error),
    data.reason === "retry" && data.run_at && ` next try at ${timeOfDay(data.run_at)}`,
  ];
  const title = data.reason === "retry" ? "Queued for another try" : (STATUSES[status] ?? status);
  return { at: timestamp, kind: `status-${status}`, title, more: told.some(Boolean) ? told : null };
}

/** Without events (a server that has no streams) the row itself tells the most of it. */
function ofJob(job) {
  const moments = [["queued", job.created_at], ["processing", job.started_at], [job.status, job.finished_at]];
  return moments.filter(([, at]) => at).map(([status, at]) => ({ at, kind: `status-${status}`, title: STATUSES[status] }));
}

function ofAttempt(attempt, place) {
  const took = attempt.finished_at && (Date.parse(attempt.finished_at) - Date.parse(attempt.started_at)) / 1000;
  const more = [
    attempt.region,
    OUTCOMES[attempt.outcome] ?? attempt.outcome,
    took !== null && took !== "" && `after ${took.toFixed(1)} s`,
    Number(attempt.cost_estimate) > 0 && `about $${Number(attempt.cost_estimate).toFixed(4)}`,
  ];
  const words = more.filter(Boolean).join(" · ");
  return [
    {
      at: attempt.started_at,
      kind: "call",
      title: `Call ${place + 1} upstream`,
      more: attempt.error_code ? [words, " · ", codeLink(attempt.error_code)] : words,
    },
  ];
}
