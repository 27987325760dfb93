// OpenAI's SDK for Node: a file in each format, a stream, models and an error. Prints
// what it got as JSON.
import fs from "node:fs";
import OpenAI from "openai";

const [base, key, file] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: 0 });
const open = () => fs.createReadStream(file);
const create = (fields) =>
  client.audio.transcriptions.create({ file: open(), model: "whisper-1", ...fields });

const found = {};
for (const format of ["json", "text", "srt", "vtt", "verbose_json"]) {
  found[format] = await create({
    response_format: format,
    ...(format === "verbose_json" ? { timestamp_granularities: ["word", "segment"] } : {}),
  });
}
found.diarized_json = await create({
  model: "gpt-4o-transcribe-diarize",
  response_format: "diarized_json",
  chunking_strategy: "auto",
});
found.stream = [];
for await (const event of await create({ model: "gpt-4o-transcribe", stream: true })) {
  found.stream.push(event);
}
found.models = (await client.models.list()).data.map((model) => model.id);
found.error = await create({ response_format: "srt", stream: true }).then(
  () => null,
  (error) => ({ name: error.constructor.name, param: error.param, code: error.code }),
);
console.log(JSON.stringify(found));
