// @deepgram/sdk 5.
import { createReadStream } from "node:fs";
import { AUDIO, AUDIO_URL, BASE, KEY, RATE, SOCKETS, WAV } from "./checks.mjs";
import { check, chunks, finish } from "./checks.mjs";

const { DeepgramClient } = await import(process.env.SDK);
const environment = { base: BASE, production: SOCKETS, agent: SOCKETS, agentRest: BASE };
const client = new DeepgramClient({ apiKey: KEY, environment });
const text = (response) => response.results.channels[0].alternatives[0].transcript;
const { media } = client.listen.v1;

await check("file", async () => text(await media.transcribeFile(WAV, { model: "nova-3" })));
await check("file in chunks", async () =>
  text(await media.transcribeFile(createReadStream(AUDIO), { model: "nova-3" })));
await check("URL", async () => text(await media.transcribeUrl({ url: AUDIO_URL, smart_format: true })));
await check("callback", async () =>
  (await media.transcribeUrl({ url: AUDIO_URL, callback: "https://example.com/callback" })).request_id);
await check("token", async () => {
  const granted = await client.auth.v1.tokens.grant({ ttl_seconds: 60 });
  const other = new DeepgramClient({ accessToken: granted.access_token, environment });
  return text(await other.listen.v1.media.transcribeFile(WAV, {}));
});
await check("project", async () => {
  const { projects } = client.manage.v1;
  const [{ project_id: id }] = (await projects.list()).projects;
  const [{ request_id }] = (await projects.requests.list(id)).requests;
  const found = await projects.requests.get(id, request_id);
  await projects.usage.get(id);
  return found.request.request_id === request_id;
});
await check("models", async () => (await client.manage.v1.models.list()).stt.length);
await check("error text", async () => {
  try {
    await client.speak.v1.audio.generate({ text: "a" });
  } catch (error) {
    return String(error).includes("Text to speech is not served");
  }
});

async function hear(version, args, isEnd) {
  const socket = await client.listen[version].connect(args);
  const told = [];
  const ended = new Promise((resolve, reject) => {
    socket.on("message", (message) => {
      told.push(message);
      if (isEnd(message)) resolve();
    });
    socket.on("close", resolve);
    socket.on("error", reject);
  });
  socket.connect();
  await socket.waitForOpen();
  for (const chunk of chunks()) socket.sendMedia(chunk);
  socket.sendCloseStream({ type: "CloseStream" });
  await ended;
  socket.close();
  return told;
}

const raw = { encoding: "linear16", sample_rate: RATE };
await check("live", async () => {
  const told = await hear("v1", { model: "nova-3", ...raw }, ({ type }) => type === "Metadata");
  return told.some((it) => it.type === "Results" && it.channel.alternatives[0].transcript);
});
await check("Flux", async () => {
  const isEnd = ({ event }) => event === "EndOfTurn";
  const told = await hear("v2", { model: "flux-general-en", ...raw }, isEnd);
  return told[0].type === "Connected" && told.some(isEnd);
});
finish();
