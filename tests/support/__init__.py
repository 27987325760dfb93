"""Helpers that several tests share: factories, fakes, clients, started processes."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
