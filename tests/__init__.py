"""Tests of the platform; `services.py` starts the real servers they need."""
