"""Results of a batch: two manifests and a zip archive, streamed."""
