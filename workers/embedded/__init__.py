"""Runs the whole platform on one machine: servers, processes, supervision.

For `make up`, `make demo` and the tests. Production runs the same processes
under its own supervisor and never imports this package.
"""
