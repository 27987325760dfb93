// @deepgram/sdk 3 and 4.
import { createReadStream } from "node:fs";
import { AUDIO, AUDIO_URL, BASE, KEY, RATE, WAV } from "./checks.mjs";
import { check, chunks, finish } from "./checks.mjs";

const sdk = await import(process.env.SDK);
const { createClient, CallbackUrl, LiveTranscriptionEvents } = sdk;
const fetchOptions = { options: { url: BASE } };
const socketOptions = { options: { url: BASE.replace("http", "ws") } };
const client = createClient(KEY, {
  global: { fetch: fetchOptions, websocket: socketOptions },
});
const { prerecorded } = client.listen;

function text({ result, error }) {
  if (error) throw error;
  return result.results.channels[0].alternatives[0].transcript;
}

await check("file", async () => text(await prerecorded.transcribeFile(WAV, { model: "nova-3" })));
await check("file in chunks", async () =>
  text(await prerecorded.transcribeFile(createReadStream(AUDIO), { model: "nova-3" })));
await check("URL", async () =>
  text(await prerecorded.transcribeUrl({ url: AUDIO_URL }, { smart_format: true })));
await check("callback", async () => {
  const callback = new CallbackUrl("https://example.com/callback");
  const { result, error } = await prerecorded.transcribeUrlCallback({ url: AUDIO_URL }, callback, {});
  if (error) throw error;
  return result.request_id;
});
await check("token", async () => {
  const { result, error } = await client.auth.grantToken();
  if (error) throw error;
  return result.access_token;
});
await check("project", async () => {
  const { result, error } = await client.manage.getProjects();
  if (error) throw error;
  const id = result.projects[0].project_id;
  const requests = await client.manage.getProjectUsageRequests(id, { limit: 1 });
  if (requests.error) throw requests.error;
  return requests.result.requests.length === 1;
});
await check("error text", async () => {
  const { result } = await client.manage.getProjects();
  const { error } = await client.manage.getProjectKeys(result.projects[0].project_id);
  return String(error?.message ?? error).includes("/v1/api-keys");
});
await check("live", async () => {
  const socket = client.listen.live({ model: "nova-3", encoding: "linear16", sample_rate: RATE });
  const heard = [];
  const ended = new Promise((resolve, reject) => {
    socket.on(LiveTranscriptionEvents.Transcript, (it) => heard.push(it.channel.alternatives[0].transcript));
    socket.on(LiveTranscriptionEvents.Metadata, resolve);
    socket.on(LiveTranscriptionEvents.Error, reject);
    socket.on(LiveTranscriptionEvents.Open, () => {
      for (const chunk of chunks()) socket.send(chunk);
      socket.requestClose();
    });
  });
  await ended;
  return heard.some(Boolean);
});
finish();
