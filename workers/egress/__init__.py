"""Outgoing HTTP: total deadlines, address checks, egress proxy."""
