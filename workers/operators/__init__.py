"""What operators see first: the site of the admin pages, its dashboard, its roles.

Lists and job pages are beside their models; figures are ``workers.monitoring``'s.
"""
