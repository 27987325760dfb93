"""The connection to Deepgram of a live session: reconnects, replays, aligns times."""
