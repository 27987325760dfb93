"""Runs the whole platform on one machine: servers, processes, supervision.

For `make up`, `make demo` and tests. Production runs the same processes under another
supervisor and does not import this package.
"""
