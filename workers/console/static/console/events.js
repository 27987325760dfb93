/** Follows an event stream, with the key in its header; reports when polling is needed. */

import { request, Problem } from "./api.js";

const MIN_WAIT = 1000;
const MAX_WAIT = 30000;
/** Codes of a server without streams: poll instead. */
const NO_STREAMS = new Set(["event_stream_unavailable", "event_streams_exceeded", "event_streams_full"]);

/**
 * Calls `onEvent(type, data)` for each event until the signal aborts. `onState` receives
 * "live", "waiting" or "polling"; after "polling" no more events follow.
 */
export async function follow(path, { onEvent, onState = () => {}, signal, lastId = "", untilEnd = false }) {
  const cursor = { id: lastId };
  let wait = MIN_WAIT;
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(cursor.id && { "Last-Event-ID": cursor.id }) };
      const response = await request(path, { headers, signal });
      if (response.status === 204) return;
      onState("live");
      wait = MIN_WAIT;
      await read(response.body, cursor, onEvent);
      if (untilEnd && cursor.ended) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && NO_STREAMS.has(error.code)) return void onState("polling");
      if (error.code === "last_event_id_invalid") cursor.id = "";
      else if (error instanceof Problem && error.status >= 400 && error.status < 500) return void onState("polling");
    }
    onState("waiting");
    await pause(wait, signal);
    wait = Math.min(MAX_WAIT, wait * 2);
  }
}

async function read(body, cursor, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) dispatch(part, cursor, onEvent);
  }
}

function dispatch(part, cursor, onEvent) {
  let [type, data] = ["message", ""];
  for (const line of part.split("\n")) {
    const colon = line.indexOf(":");
    const [name, value] = [line.slice(0, colon), line.slice(colon + 1).trimStart()];
    if (name === "id") cursor.id = value;
    else if (name === "event") type = value;
    else if (name === "data") data += value;
  }
  if (!data) return;
  const event = JSON.parse(data);
  cursor.ended = /^job\.(completed|failed|canceled|expired)$/.test(type);
  onEvent(type, event);
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
