"""Manifests of batches."""

import json

URL = "https://audio.example.com/{}.wav"


JSONL = "application/x-ndjson"


def line(number, **fields):
    return {"audio_url": URL.format(number), "custom_id": f"c-{number}", **fields}


def jsonl(lines):
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


def send_manifest(
    api, body, query="", content_type=JSONL, path="/v1/batches", **headers
):
    path = f"{path}{query}"
    return api.post(path, body=body, content_type=content_type, headers=headers)
