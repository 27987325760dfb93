/** API requests: key, problems, uploads. The key is stored in this tab only. */

const KEY = "console.key";

let key = sessionStorage.getItem(KEY) ?? "";
let onUnauthorized = () => {};

/** An error response, with the code and message of the platform. */
export class Problem extends Error {
  constructor(status, body = {}, retryAfter = null) {
    super(body.detail ?? `The server responded ${status}.`);
    this.status = status;
    this.code = body.code ?? (status ? `http_${status}` : "");
    this.title = body.title ?? "The request failed";
    this.requestId = body.request_id ?? "";
    this.errors = body.errors ?? [];
    this.retryAfter = retryAfter;
  }

  /** Whether /problems documents this code. */
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

export const isCurrentKey = (text) => key === text;

/** Returns the key in the URL (`#key=…`) and removes it from URL and history. */
export function takeKeyFromUrl() {
  const linkedKey = new URLSearchParams(location.hash.replace(/^#/, "")).get("key");
  if (!linkedKey) return "";
  history.replaceState(null, "", location.pathname + location.search);
  return linkedKey.trim();
}

/** Returns the account of another key, or null if the key is not valid. */
export async function findAccount(text) {
  try {
    const response = await fetch("/v1/me", { headers: { Authorization: `Bearer ${text}` } });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/** Sets the listener for 401 responses. */
export function onKeyRejected(listener) {
  onUnauthorized = listener;
}

export const authorization = () => ({ Authorization: `Bearer ${key}` });

/** Fetches; throws a Problem for error responses. */
export async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  const contentType = body === undefined ? {} : { "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      headers: { ...authorization(), ...contentType, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw offline();
  }
  if (!response.ok) throw await readProblem(response);
  return response;
}

export const get = async (path, more) => (await request(path, more)).json();
export const post = async (path, body, more) => (await request(path, { method: "POST", body, ...more })).json();

async function readProblem(response) {
  const body = await response.json().catch(() => ({}));
  return reportProblem(new Problem(response.status, body, Number(response.headers.get("Retry-After")) || null));
}

function reportProblem(problem) {
  if (problem.status === 401) onUnauthorized(problem);
  return problem;
}

function offline() {
  return new Problem(0, {
    title: "The platform cannot be reached",
    detail: "The server did not respond. Check that it is running and that you are online.",
  });
}

/** Posts a form with a file; reports the sent share (0 to 1). */
export function upload(path, fields, { onProgress, signal } = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("POST", path);
    xhr.setRequestHeader("Authorization", `Bearer ${key}`);
    xhr.responseType = "json";
    xhr.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress?.(event.loaded / event.total);
    });
    xhr.upload.addEventListener("load", () => onProgress?.(1));
    xhr.addEventListener("load", () => {
      const { status, response } = xhr;
      if (status < 400) resolve({ status, body: response });
      else reject(reportProblem(new Problem(status, response ?? {}, Number(xhr.getResponseHeader("Retry-After")) || null)));
    });
    xhr.addEventListener("error", () => reject(offline()));
    xhr.addEventListener("abort", () => reject(new DOMException("Stopped", "AbortError")));
    signal?.addEventListener("abort", () => xhr.abort());
    xhr.send(form);
  });
}
