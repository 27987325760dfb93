"""/console/: a web page for people, built on the public API."""
