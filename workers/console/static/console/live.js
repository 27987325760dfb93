/** One live session: a ticket, a socket, and what is said through it. */

import { post, Problem } from "./api.js";
import { RATE } from "./sources.js";

const KEEPALIVE_MS = 4000;
/** Audio that waits in the browser: half a minute. More is let go. */
const MOST_WAITING = 30 * RATE * 2;

/** Tells its `onMessage` every message of the platform, and `onGone` how it ended. */
export class LiveSession {
  constructor({ onMessage, onGone }) {
    Object.assign(this, { onMessage, onGone, jobId: null, isClosing: false, lostFrames: 0 });
  }

  async open({ options, signal }) {
    const ticket = await post("/v1/transcribe", { mode: "stream", options }, { signal });
    const query = new URLSearchParams({
      ticket: ticket.ticket,
      encoding: "linear16",
      sample_rate: String(RATE),
      channels: "1",
      interim_results: "true",
    });
    const origin = location.origin.replace(/^http/, "ws");
    this.socket = new WebSocket(`${origin}/v1/live?${query}`);
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("message", ({ data }) => this.hear(JSON.parse(data)));
    this.socket.addEventListener("close", (event) => this.gone(event));
    this.timer = setInterval(() => this.keepAlive(), KEEPALIVE_MS);
    return new Promise((resolve, reject) => {
      this.opened = { resolve, reject };
    });
  }

  hear(message) {
    if (message.type === "ready") {
      this.jobId = message.job_id;
      this.opened.resolve(message);
    }
    if (message.type === "error") this.error = message;
    if (message.type === "closed") this.end = message;
    this.onMessage(message);
  }

  /** Send a frame; false when the network is so slow that it had to be dropped. */
  send(frame) {
    if (this.socket.readyState !== WebSocket.OPEN || this.isClosing) return true;
    if (this.socket.bufferedAmount > MOST_WAITING) {
      this.lostFrames += 1;
      return false;
    }
    this.socket.send(frame);
    this.sentAt = Date.now();
    return true;
  }

  keepAlive() {
    const isOpen = this.socket.readyState === WebSocket.OPEN && this.jobId;
    if (isOpen && !this.isClosing && Date.now() - (this.sentAt ?? 0) > KEEPALIVE_MS) this.tell("keepalive");
  }

  /** Ask for what is still to come, and for the end. */
  close() {
    this.isClosing = true;
    if (this.socket?.readyState === WebSocket.OPEN) this.tell("close");
    else this.socket?.close();
  }

  tell(type) {
    this.socket.send(JSON.stringify({ type }));
  }

  gone(event) {
    clearInterval(this.timer);
    const problem = this.end ? null : this.problemOf(event);
    this.opened.reject(problem ?? new Problem(0, { detail: "It was closed." }));
    this.onGone({ end: this.end, problem });
  }

  problemOf(event) {
    if (this.error) return new Problem(event.code, { title: "The session ended", ...this.error });
    const detail = this.jobId
      ? "The connection to the platform broke. What was said so far is kept."
      : "The platform did not open the session. Is its live process reachable from here?";
    return new Problem(event.code, { code: `closed_${event.code}`, title: "The session broke off", detail });
  }
}
