"""Request ids, throttling, body limits and static files."""
