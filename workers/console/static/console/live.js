/** One live session: ticket, WebSocket and messages. */

import { post, Problem } from "./api.js";
import { RATE } from "./sources.js";

const KEEPALIVE_MS = 4000;
/** Maximum unsent audio, 30 s; more is dropped. */
const MAX_BUFFERED_BYTES = 30 * RATE * 2;

/** Passes every message to `onMessage` and the end of the session to `onEnd`. */
export class LiveSession {
  constructor({ onMessage, onEnd }) {
    Object.assign(this, { onMessage, onEnd, jobId: null, isClosing: false, lostFrames: 0 });
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
    this.socket.addEventListener("message", ({ data }) => this.receive(JSON.parse(data)));
    this.socket.addEventListener("close", (event) => this.handleClose(event));
    this.timer = setInterval(() => this.keepAlive(), KEEPALIVE_MS);
    return new Promise((resolve, reject) => {
      this.opened = { resolve, reject };
    });
  }

  receive(message) {
    if (message.type === "ready") {
      this.jobId = message.job_id;
      this.opened.resolve(message);
    }
    if (message.type === "error") this.error = message;
    if (message.type === "closed") this.end = message;
    this.onMessage(message);
  }

  /** Sends a frame; returns false if it was dropped because the network is too slow. */
  send(frame) {
    if (this.socket.readyState !== WebSocket.OPEN || this.isClosing) return true;
    if (this.socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      this.lostFrames += 1;
      return false;
    }
    this.socket.send(frame);
    this.sentAt = Date.now();
    return true;
  }

  keepAlive() {
    const isOpen = this.socket.readyState === WebSocket.OPEN && this.jobId;
    if (isOpen && !this.isClosing && Date.now() - (this.sentAt ?? 0) > KEEPALIVE_MS) this.sendControl("keepalive");
  }

  /** Requests the remaining results and the end of the session. */
  close() {
    this.isClosing = true;
    if (this.socket?.readyState === WebSocket.OPEN) this.sendControl("close");
    else this.socket?.close();
  }

  sendControl(type) {
    this.socket.send(JSON.stringify({ type }));
  }

  handleClose(event) {
    clearInterval(this.timer);
    const problem = this.end ? null : this.buildProblem(event);
    this.opened.reject(problem ?? new Problem(0, { detail: "The session was closed." }));
    this.onEnd({ end: this.end, problem });
  }

  buildProblem(event) {
    if (this.error) return new Problem(event.code, { title: "The session ended", ...this.error });
    const detail = this.jobId
      ? "The connection was lost. The transcript so far is saved."
      : "The platform did not open the session. Check that its live process is reachable.";
    return new Problem(event.code, { code: `closed_${event.code}`, title: "The session was interrupted", detail });
  }
}
