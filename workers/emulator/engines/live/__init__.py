"""Speech recognition engines for live audio."""
