"""What the live door counts in its process; whoever shows figures reads it here."""

# Upper bounds in seconds.
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class LiveCounters:
    """Totals since the process began, and what is now. Changed on the event loop."""

    def __init__(self) -> None:
        self.sessions = self.opened = self.refused = self.reconnects = 0
        self.messages = 0
        self.lost_audio_seconds = 0.0
        # How long messages of the upstream stayed here: by bucket, the last is more.
        self.added_latency = [0] * (len(LATENCY_BUCKETS) + 1)
        self.added_latency_seconds = 0.0


COUNTERS = LiveCounters()


def note_added_latency(seconds: float) -> None:
    """Count a message that was sent on, so long after it came."""
    COUNTERS.messages += 1
    COUNTERS.added_latency_seconds += seconds
    for place, bound in enumerate(LATENCY_BUCKETS):
        if seconds <= bound:
            COUNTERS.added_latency[place] += 1
            return
    COUNTERS.added_latency[-1] += 1
