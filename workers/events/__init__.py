"""Event streams: what happens to jobs and batches, told as it is committed."""
