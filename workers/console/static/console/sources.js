/** Sources of live audio: the microphone, or a file played in real time. */

export const RATE = 16000;
const FRAME = RATE / 10;
const FRAME_MS = 100;

/** Sources call `onFrame(ArrayBuffer, peak)` and, at the end of the audio, `onEnd`. */
export class Microphone {
  static get isAvailable() {
    return Boolean(navigator.mediaDevices?.getUserMedia);
  }

  async start({ onFrame, onEnd }) {
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    this.stream.getAudioTracks()[0].addEventListener("ended", onEnd);
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule(new URL("./pcm-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(this.context, "pcm", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => onFrame(data.pcm, data.peak);
    this.context.createMediaStreamSource(this.stream).connect(node);
    await this.context.resume();
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.context?.state !== "closed") this.context?.close();
  }
}

export class FileSource {
  constructor(file) {
    this.file = file;
  }

  /** Decodes the whole file, so that invalid files fail before the session opens. */
  async prepare() {
    const context = new OfflineAudioContext(1, 1, RATE);
    const sound = await context.decodeAudioData(await this.file.arrayBuffer());
    const channels = Array.from({ length: sound.numberOfChannels }, (_, number) => sound.getChannelData(number));
    this.samples = new Int16Array(sound.length);
    for (let at = 0; at < sound.length; at += 1) {
      const mean = channels.reduce((sum, channel) => sum + channel[at], 0) / channels.length;
      this.samples[at] = Math.max(-1, Math.min(1, mean)) * 32767;
    }
  }

  async start({ onFrame, onEnd }) {
    const startedAt = performance.now();
    let at = 0;
    this.timer = setInterval(() => {
      // Follows the clock, so that a slow timer loses no audio.
      const due = Math.min(this.samples.length, (Math.floor((performance.now() - startedAt) / FRAME_MS) + 1) * FRAME);
      for (; at < due; at += FRAME) {
        const frame = this.samples.slice(at, at + FRAME);
        onFrame(frame.buffer, frame.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0) / 32767);
      }
      if (at < this.samples.length) return;
      this.stop();
      onEnd();
    }, FRAME_MS);
  }

  stop() {
    clearInterval(this.timer);
  }
}
