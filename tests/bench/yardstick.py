"""The slowness of this machine now: 1.0 at usual speed, 2.0 at half of it.

Bounds in milliseconds are multiplied by it, so that a slow machine does not miss them and
a slow change does. Samples are taken between the measured requests, because the speed of
a shared machine changes by the second. A sample is the mean of a fixed loop in Python and
a fixed query in PostgreSQL, each relative to its time on a cloud machine of two cores.
"""

import time
from collections.abc import Callable

from django.db import connection

from tests.bench.rows import Row, median

LOOP_SECONDS = 0.05
QUERY_SECONDS = 0.025
_REPEATS = 5
_QUERY = """
SELECT count(*) FROM (
  SELECT md5(n::text) AS digest FROM generate_series(1, 50000) AS n ORDER BY digest
) AS sorted
"""


def sample() -> float:
    """Return the factor of this moment, in less than a tenth of a second."""
    return (_time(_loop) / LOOP_SECONDS + _time(_query) / QUERY_SECONDS) / 2


def measure() -> float:
    """Return the median of some samples."""
    return median(sample() for _ in range(_REPEATS))


def build_row(bench: str, factor: float) -> Row:
    """Return the row that states the factor of a bench."""
    figure = "yardstick (a machine of usual speed: 1.0)"
    return Row(bench=bench, figure=figure, ours=f"{factor:.2f}")


def _time(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _loop() -> None:
    sum(number for number in range(2_000_000))


def _query() -> None:
    with connection.cursor() as cursor:
        cursor.execute(_QUERY)
        cursor.fetchone()
