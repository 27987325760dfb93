"""Batches: many jobs submitted, counted and controlled together.

Submission: ``api.views`` receives the request; a manifest is streamed to disk
(``manifests.upload``) and read as lines (``manifests.lines``) and items
(``manifests.reader``). ``items`` checks each item and ``item_file`` spools the rows
until ``api.acceptance`` saves all of them (``writing``, ``job_rows``).

Later: ``counting`` counts its jobs as they end, ``statistics`` derives its status and
progress, ``actions`` records requested changes, ``sweeper`` applies them to the jobs,
and ``retry`` submits failed jobs again.
"""
