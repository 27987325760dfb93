"""Keep Python's collector from looking again and again at what stays for ever.

A process of ours holds half a million objects once it is loaded. To look through them
takes 60 to 100 ms, in which nothing else runs, and happened every few hundred requests.
"""

import gc

from django.urls import get_resolver

# New objects until the young ones are looked at; rounds of that until older ones are.
THRESHOLDS = (20_000, 20, 20)  # Python's own: 700, 10, 10


def settle(*, routes: bool = False) -> None:
    """Call all there is permanent (``gc.freeze``): to be called once all is loaded.

    ``routes``: load those before, as the first request would.
    """
    if routes:
        _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
