"""/console/: the web console, built on the public API."""
