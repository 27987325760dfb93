"""Outages of the running platform, and what each check, metric, alert and page says."""
