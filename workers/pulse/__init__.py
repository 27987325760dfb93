"""What a process says of itself to a probe beside it: that each part of it works."""
