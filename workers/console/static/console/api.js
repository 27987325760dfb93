/** Speak with the API: the key, problems, uploads. The key never leaves this tab. */

const KEY = "console.key";

let key = sessionStorage.getItem(KEY) ?? "";
let onRefused = () => {};

/** An answer that was not to be had, with the code and sentence of the platform. */
export class Problem extends Error {
  constructor(status, body = {}, retryAfter = null) {
    super(body.detail ?? `The answer was ${status}.`);
    this.status = status;
    this.code = body.code ?? (status ? `http_${status}` : "");
    this.title = body.title ?? "That did not work";
    this.requestId = body.request_id ?? "";
    this.errors = body.errors ?? [];
    this.retryAfter = retryAfter;
  }

  /** Whether /problems has a page about it. */
  get isKnown() {
    return this.status !== 0 && !/^(http|closed)_/.test(this.code);
  }
}

export const hasKey = () => key !== "";

export function setKey(text) {
  key = text;
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export const isInUse = (text) => key === text;

/** Return the key of the address (`#key=…`), and take it out, so that it stays in no history. */
export function takeKeyFromAddress() {
  const found = new URLSearchParams(location.hash.replace(/^#/, "")).get("key");
  if (!found) return "";
  history.replaceState(null, "", location.pathname + location.search);
  return found.trim();
}

/** Return the account that another key opens, null where it opens none. The key in use stays. */
export async function findAccount(text) {
  try {
    const answer = await fetch("/v1/me", { headers: { Authorization: `Bearer ${text}` } });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** Say what to do when the key is good no more. */
export function whenRefused(listener) {
  onRefused = listener;
}

export const authorization = () => ({ Authorization: `Bearer ${key}` });

/** Fetch, and turn every refusal into a Problem. */
export async function ask(path, { method = "GET", body, headers = {}, signal } = {}) {
  const sent = body === undefined ? {} : { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, {
      method,
      signal,
      headers: { ...authorization(), ...sent, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw offline();
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

export const get = async (path, more) => (await ask(path, more)).json();
export const post = async (path, body, more) => (await ask(path, { method: "POST", body, ...more })).json();

async function problemOf(answer) {
  const body = await answer.json().catch(() => ({}));
  return refused(new Problem(answer.status, body, Number(answer.headers.get("Retry-After")) || null));
}

function refused(problem) {
  if (problem.status === 401) onRefused(problem);
  return problem;
}

function offline() {
  return new Problem(0, {
    title: "The platform cannot be reached",
    detail: "Nothing answers at this address. Is it running, and are you online?",
  });
}

/** POST a form with its file, telling how much of it is sent (0 to 1). */
export function upload(path, fields, { onProgress, signal } = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress?.(event.loaded / event.total);
    });
    request.upload.addEventListener("load", () => onProgress?.(1));
    request.addEventListener("load", () => {
      const { status, response } = request;
      if (status < 400) resolve({ status, body: response });
      else reject(refused(new Problem(status, response ?? {}, Number(request.getResponseHeader("Retry-After")) || null)));
    });
    request.addEventListener("error", () => reject(offline()));
    request.addEventListener("abort", () => reject(new DOMException("Stopped", "AbortError")));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
