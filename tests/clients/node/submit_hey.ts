// A client of @hey-api/openapi-ts: submits by URL and by file, polls, and reads the
// transcripts. Prints them as JSON.
import { openAsBlob } from "node:fs";
import { client } from "./hey/client.gen.js";
import { formDataBodySerializer } from "./hey/client/index.js";
import { getJob, getTranscript, submitJob } from "./hey/sdk.gen.js";
import type { JobFormRequest, JobInputRequest, JobOutput, TranscriptOutput } from "./hey/types.gen.js";

const [base, key, url, file] = process.argv.slice(2) as [string, string, string, string];
client.setConfig({ baseUrl: base, auth: () => key, throwOnError: true });

async function read(job: JobOutput): Promise<string> {
  for (;;) {
    const { data } = await getJob({ path: { job_id: job.id }, throwOnError: true });
    if (data.status === "completed") break;
    if (data.status !== "queued" && data.status !== "processing") {
      throw new Error(`${data.status}: ${data.error?.code}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const { data } = await getTranscript({ path: { job_id: job.id }, throwOnError: true });
  return (data as TranscriptOutput).text;
}

const byUrl = await submitJob({
  body: { audio_url: url, options: { model: "nova-3" }, metadata: { order: "1" } },
  throwOnError: true,
});
const blob = await openAsBlob(file, { type: "audio/wav" });
const form: JobFormRequest = { file: new File([blob], "a.wav"), metadata: { order: "2" } };
const byFile = await submitJob({
  // The generator types only the first of an operation's bodies.
  body: form as unknown as JobInputRequest,
  ...formDataBodySerializer,
  headers: { "Content-Type": null },
  throwOnError: true,
});
console.log(JSON.stringify([await read(byUrl.data), await read(byFile.data)]));
