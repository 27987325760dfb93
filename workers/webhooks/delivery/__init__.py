"""Delivers events to targets: fan-out, claims, attempts, retries, replay."""
