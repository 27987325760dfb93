"""The peer: the same job done by Django, DRF and plain Celery, as their docs teach.

POST -> queue -> Deepgram -> INSERT -> signed webhook. Nothing of our engine is used.
What is done well: a connection pool as large as the threads, one Deepgram client and
one webhook client per process, late acks, retries with backoff, no result backend, and
no status written that is not needed. What it does not do is what plain Celery does
not do: fairness, the upstream's limits, a ledger, recovery sooner than the visibility
timeout.

The leaner peer is a second endpoint of the same processes: a shared token, no job row,
and the webhook sent by the task that transcribes.
"""
