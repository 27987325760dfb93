"""Runs docker-compose.yml, or three regions, as plain processes on this machine."""
