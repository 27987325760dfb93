"""Audio input and captions for `transcribe listen`."""
