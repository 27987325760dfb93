"""GET /v1/jobs/{id}/audio: the uploaded audio of a job."""
