"""Counters of the live sessions in this process, read by ``workers.monitoring``."""

# Upper bounds of the histogram, in seconds.
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class LiveCounters:
    """Totals since the process started, and open sessions. For the event loop only."""

    def __init__(self) -> None:
        self.sessions = self.opened = self.refused = self.reconnects = 0
        self.messages = 0
        self.lost_audio_seconds = 0.0
        # Delay of Deepgram's messages in this process, by bucket; the last is +Inf.
        self.added_latency = [0] * (len(LATENCY_BUCKETS) + 1)
        self.added_latency_seconds = 0.0


COUNTERS = LiveCounters()


def record_added_latency(seconds: float) -> None:
    """Count a forwarded message with its delay in this process."""
    COUNTERS.messages += 1
    COUNTERS.added_latency_seconds += seconds
    for index, bound in enumerate(LATENCY_BUCKETS):
        if seconds <= bound:
            COUNTERS.added_latency[index] += 1
            return
    COUNTERS.added_latency[-1] += 1
