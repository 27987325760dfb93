"""Customer endpoints for jobs, keys, usage, audio and the audit log."""
