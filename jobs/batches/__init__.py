"""Batches: many jobs submitted, counted and controlled together.

How one comes in: `views` takes the request; a manifest goes to disk (`manifest_upload`)
and is read as lines (`manifest_lines`), and those as items (`manifests`); each item is
checked (`items`) and what came of it is kept (`spool`) until all are written: `intake`,
`writing`, `job_rows`. `check` stops before that.

What becomes of it: `counting` as its jobs end, `figures` for what is said of it, `life`
for what is wanted of it, `rounds` to do that to its jobs, `retry` for another go.
"""
