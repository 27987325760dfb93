"""The admin site: dashboard, roles, and the page of one job.

The other admin pages are in the packages of their models; statistics are in
``workers.monitoring``.
"""
