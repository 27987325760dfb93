"""What a call leaves: stores, adopts, commits and erases results."""
