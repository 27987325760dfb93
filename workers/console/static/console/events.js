/** Follow an event stream with the key in its header, or be told to ask again. */

import { ask, Problem } from "./api.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30000;
/** Codes of a server that has no streams: ask again instead. */
const NONE_HERE = new Set(["event_stream_unavailable", "event_streams_exceeded", "event_streams_full"]);

/**
 * Call `onEvent(type, data)` for each event until the signal aborts. `onState` is told
 * "live", "waiting" or "polling"; with the last one nothing more comes by this way.
 */
export async function follow(path, { onEvent, onState = () => {}, signal, lastId = "", untilEnd = false }) {
  const at = { id: lastId };
  let wait = FIRST_WAIT;
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(at.id && { "Last-Event-ID": at.id }) };
      const answer = await ask(path, { headers, signal });
      if (answer.status === 204) return;
      onState("live");
      wait = FIRST_WAIT;
      await read(answer.body, at, onEvent);
      if (untilEnd && at.ended) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && NONE_HERE.has(error.code)) return void onState("polling");
      if (error.code === "last_event_id_invalid") at.id = "";
      else if (error instanceof Problem && error.status >= 400 && error.status < 500) return void onState("polling");
    }
    onState("waiting");
    await pause(wait, signal);
    wait = Math.min(LONGEST_WAIT, wait * 2);
  }
}

async function read(body, at, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) tell(part, at, onEvent);
  }
}

function tell(part, at, onEvent) {
  let [type, data] = ["message", ""];
  for (const line of part.split("\n")) {
    const colon = line.indexOf(":");
    const [name, value] = [line.slice(0, colon), line.slice(colon + 1).trimStart()];
    if (name === "id") at.id = value;
    else if (name === "event") type = value;
    else if (name === "data") data += value;
  }
  if (!data) return;
  const told = JSON.parse(data);
  at.ended = /^job\.(completed|failed|canceled|expired)$/.test(type);
  onEvent(type, told);
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
