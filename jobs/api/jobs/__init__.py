"""/v1/jobs: submit, read, list, cancel, retry and delete jobs."""
