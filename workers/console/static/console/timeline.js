/** The timeline of a job: its events and upstream calls in chronological order. */

import { h } from "./dom.js";
import { codeLink } from "./problem.js";
import { STATUSES, timeOfDay } from "./format.js";

const OUTCOMES = { open: "in progress", ok: "succeeded", error: "failed", unknown: "outcome unknown" };

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
        h("div", {}, h("p", {}, entry.title), entry.detail && h("p", { class: "faint" }, entry.detail)),
      ),
    ),
  );
}

function ofEvent(event) {
  const { data = {}, status, timestamp } = event;
  const details = [
    data.cause && codeLink(data.cause),
    data.error && codeLink(typeof data.error === "object" ? data.error.code : data.error),
    data.reason === "retry" && data.run_at && ` next attempt at ${timeOfDay(data.run_at)}`,
  ];
  const title = data.reason === "retry" ? "Queued for retry" : (STATUSES[status] ?? status);
  return { at: timestamp, kind: `status-${status}`, title, detail: details.some(Boolean) ? details : null };
}

/** Without event streams, the job's timestamps are the timeline. */
function ofJob(job) {
  const moments = [["queued", job.created_at], ["processing", job.started_at], [job.status, job.finished_at]];
  return moments.filter(([, at]) => at).map(([status, at]) => ({ at, kind: `status-${status}`, title: STATUSES[status] }));
}

function ofAttempt(attempt, index) {
  const seconds = attempt.finished_at && (Date.parse(attempt.finished_at) - Date.parse(attempt.started_at)) / 1000;
  const parts = [
    attempt.region,
    OUTCOMES[attempt.outcome] ?? attempt.outcome,
    seconds !== null && seconds !== "" && `after ${seconds.toFixed(1)} s`,
    Number(attempt.cost_estimate) > 0 && `about $${Number(attempt.cost_estimate).toFixed(4)}`,
  ];
  const summary = parts.filter(Boolean).join(" · ");
  return [
    {
      at: attempt.started_at,
      kind: "call",
      title: `Upstream call ${index + 1}`,
      detail: attempt.error_code ? [summary, " · ", codeLink(attempt.error_code)] : summary,
    },
  ];
}
