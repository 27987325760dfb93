"""Inputs from the field that an earlier version got wrong."""

from pathlib import Path

CASES = Path(__file__).parent.parent / "cases"
