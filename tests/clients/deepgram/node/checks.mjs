// What every script here reports: a line of JSON for each check, and a failed exit.
import { readFileSync } from "node:fs";

export const { BASE, KEY, AUDIO, AUDIO_URL } = process.env;
export const SOCKETS = BASE.replace("http", "ws");
export const WAV = readFileSync(AUDIO);
export const PCM = WAV.subarray(44);
export const RATE = WAV.readUInt32LE(24);
let failed = false;

export async function check(name, work) {
  let ok = false;
  let error = "";
  try {
    ok = Boolean(await within(60_000, work()));
  } catch (caught) {
    error = String(caught?.stack ?? caught);
  }
  failed ||= !ok;
  console.log(JSON.stringify({ check: name, ok, error }));
}

export function within(milliseconds, work) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("timeout")), milliseconds).unref();
  });
  return Promise.race([work, late]);
}

export function* chunks() {
  for (let at = 0; at < PCM.length; at += 6400) yield PCM.subarray(at, at + 6400);
}

export const finish = () => process.exit(failed ? 1 : 0);
