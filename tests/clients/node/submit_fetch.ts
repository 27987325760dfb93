// A client of openapi-typescript and openapi-fetch: submits by URL and by file, polls,
// and reads the transcripts. Prints them as JSON.
import { openAsBlob } from "node:fs";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [base, key, url, file] = process.argv.slice(2) as [string, string, string, string];
const client = createClient<paths>({
  baseUrl: base,
  headers: { Authorization: `Bearer ${key}` },
});
type Job = components["schemas"]["JobOutput"];

async function read(job: Job | undefined): Promise<string> {
  if (!job) throw new Error("the job was not accepted");
  for (;;) {
    const path = { job_id: job.id };
    const { data, response } = await client.GET("/v1/jobs/{job_id}", { params: { path } });
    if (!data) throw new Error(`no job: ${response.status}`);
    if (data.status === "completed") break;
    if (data.status !== "queued" && data.status !== "processing") {
      throw new Error(`${data.status}: ${data.error?.code}`);
    }
    const seconds = Number(response.headers.get("retry-after") ?? "1");
    await new Promise((resolve) => setTimeout(resolve, Math.min(seconds, 0.2) * 1000));
  }
  const path = { job_id: job.id };
  const { data } = await client.GET("/v1/transcripts/{job_id}", { params: { path } });
  if (!data) throw new Error("no transcript");
  return (data as components["schemas"]["TranscriptOutput"]).text;
}

const byUrl = await client.POST("/v1/jobs", {
  body: { audio_url: url, options: { model: "nova-3" }, metadata: { order: "1" } },
});
const form: components["schemas"]["JobFormRequest"] = {
  file: (await openAsBlob(file)) as unknown as string,
  metadata: { order: "2" },
};
const byFile = await client.POST("/v1/jobs", {
  body: form,
  bodySerializer: () => {
    const data = new FormData();
    data.append("file", form.file as unknown as Blob, "a.wav");
    data.append("metadata", JSON.stringify(form.metadata));
    return data;
  },
});
console.log(JSON.stringify([await read(byUrl.data), await read(byFile.data)]));
