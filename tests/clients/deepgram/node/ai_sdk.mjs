// @ai-sdk/deepgram, whose base URL only its fetch can change.
import { createDeepgram } from "@ai-sdk/deepgram";
import { experimental_transcribe as transcribe } from "ai";
import { BASE, KEY, WAV, check, finish } from "./checks.mjs";

const deepgram = createDeepgram({
  apiKey: KEY,
  fetch: (url, options) => fetch(String(url).replace("https://api.deepgram.com", BASE), options),
});

await check("file", async () => {
  const found = await transcribe({ model: deepgram.transcription("nova-3"), audio: WAV });
  return found.text && found.durationInSeconds > 1;
});
await check("options", async () => {
  const found = await transcribe({
    model: deepgram.transcription("nova-3"),
    audio: WAV,
    providerOptions: { deepgram: { smartFormat: true, utterances: true, diarize: true } },
  });
  return found.segments.length;
});
finish();
