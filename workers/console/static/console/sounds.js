/** Audio cache of this tab: recent recordings and selected files. */

const MAX_CACHED = 5;
const sounds = new Map();

export function cacheAudio(jobId, blob) {
  sounds.delete(jobId);
  sounds.set(jobId, blob);
  if (sounds.size > MAX_CACHED) sounds.delete(sounds.keys().next().value);
}

export const cachedAudio = (jobId) => sounds.get(jobId);

/** Returns 16-bit mono PCM as a WAV file. */
export function wavOf(chunks, rate) {
  const size = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, index) => head.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, rate * 2, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head, ...chunks], { type: "audio/wav" });
}
