"""The admin site: dashboard, roles, and the page of one job.

Lists and job pages are beside their models; figures are ``workers.monitoring``'s.
"""
