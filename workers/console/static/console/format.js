/** Formats times, sizes and statuses. */

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const DATE_TIME = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

/** 75.3 → "1:15"; with hours from one hour on. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const minutes = Math.floor(whole / 60) % 60;
  const rest = String(whole % 60).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** 7.14 → "7.1 s", 312 → "5 min 12 s". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  const [minutes, rest] = [Math.floor(seconds / 60), Math.round(seconds % 60)];
  if (minutes < 60) return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function bytes(count) {
  if (count === null || count === undefined) return "";
  if (count < 1000) return `${count} B`;
  if (count < 1e6) return `${(count / 1e3).toFixed(0)} kB`;
  return count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(1)} GB`;
}

/** "3 minutes ago", "in 20 seconds". */
export function ago(text, now = Date.now()) {
  const seconds = (Date.parse(text) - now) / 1000;
  if (Math.abs(seconds) < 3) return "just now";
  const [unit, length] = UNITS.find(([, long]) => Math.abs(seconds) >= long) ?? UNITS.at(-1);
  return RELATIVE.format(Math.round(seconds / length), unit);
}

export const moment = (text) => (text ? DATE_TIME.format(new Date(text)) : "");
export const timeOfDay = (text) => CLOCK.format(new Date(text));

export const STATUSES = {
  queued: "Queued",
  processing: "Processing",
  completed: "Completed",
  failed: "Failed",
  canceled: "Canceled",
  expired: "Expired",
};
export const isFinal = (status) => !["queued", "processing"].includes(status);

/** The display name of a job: file name, URL or "Live session". */
export function nameOf(job) {
  if (job.erased_at) return "Erased job";
  if (job.mode === "live") return "Live session";
  if (job.audio?.filename) return job.audio.filename;
  const path = (job.audio?.url ?? "").split("/").filter(Boolean);
  return path.length > 2 ? decoded(path.at(-1)) : job.audio?.url || "Audio";
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The router's decision as a sentence. */
export function reasonOf(route) {
  const { sync_below_seconds: below, async_above_seconds: above } = route.thresholds ?? {};
  const length = duration(route.duration_seconds);
  return (
    {
      asked: "You selected this mode.",
      short: `${length} of audio is under ${duration(below)}: transcribed immediately.`,
      medium: `${length} of audio, between ${duration(below)} and ${duration(above)}: transcribed immediately, and queued if it takes too long.`,
      long: `${length} of audio is over ${duration(above)}: queued.`,
      unknown_length: "The length is unknown: transcribed immediately, and queued if it takes too long.",
    }[route.reason] ?? route.reason
  );
}

export const MODES = { sync: "Sync", async: "Async", stream: "Live", live: "Live" };
export const WAYS = { sync: "Sync: transcribed immediately", async: "Async: queued", stream: "Live", live: "Live" };
