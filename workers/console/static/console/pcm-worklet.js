/** Audio thread: resamples the microphone's audio to 16 kHz, 16 bit. */

const RATE = 16000;
const FRAME = RATE / 10;
const PHASES = 64;
const CROSSINGS = 12;

class Pcm extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / RATE;
    // Low-pass filter below half the lower rate, against aliasing.
    const cutoff = Math.min(1, RATE / sampleRate) * 0.94;
    this.half = Math.ceil(CROSSINGS / cutoff);
    this.kernels = Array.from({ length: PHASES }, (_, phase) => kernel(phase / PHASES, this.half, cutoff));
    this.waiting = new Float32Array(2 * this.half);
    this.position = this.half;
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.peak = 0;
  }

  process(inputs) {
    const channels = inputs[0];
    if (channels.length === 0) return true;
    const samples = new Float32Array(this.waiting.length + channels[0].length);
    samples.set(this.waiting);
    for (const channel of channels) {
      for (let at = 0; at < channel.length; at += 1) samples[this.waiting.length + at] += channel[at] / channels.length;
    }
    while (this.position + this.half < samples.length) {
      this.push(this.valueAt(samples));
      this.position += this.step;
    }
    const used = Math.max(0, Math.floor(this.position) - this.half);
    this.waiting = samples.slice(used);
    this.position -= used;
    return true;
  }

  valueAt(samples) {
    const whole = Math.floor(this.position);
    const weights = this.kernels[Math.floor((this.position - whole) * PHASES)];
    let sum = 0;
    for (let tap = 0; tap < weights.length; tap += 1) sum += samples[whole - this.half + 1 + tap] * weights[tap];
    return sum;
  }

  push(value) {
    const clipped = Math.max(-1, Math.min(1, value));
    this.peak = Math.max(this.peak, Math.abs(clipped));
    this.frame[this.filled] = Math.round(clipped * 32767);
    this.filled += 1;
    if (this.filled < FRAME) return;
    const { buffer } = this.frame;
    this.port.postMessage({ pcm: buffer, peak: this.peak }, [buffer]);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.peak = 0;
  }
}

/** A windowed sinc, shifted by a fraction of a sample; the weights sum to one. */
function kernel(shift, half, cutoff) {
  const weights = Float32Array.from({ length: 2 * half }, (_, tap) => {
    const x = tap - half + 1 - shift;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * cutoff * x) / (Math.PI * cutoff * x);
    return sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / half));
  });
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

registerProcessor("pcm", Pcm);
