"""Parse values that clients send: JSON with limits, numbers, names with suggestions."""
