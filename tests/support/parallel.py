"""Do the same at the same time."""

import threading
from collections.abc import Callable

from django.db import connection


def in_parallel(number: int, work: Callable[[], object]) -> list[object]:
    """Run the work in threads that begin together; a failure in one fails the test."""
    barrier = threading.Barrier(number)
    results: list[object] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            barrier.wait(10)
            results.append(work())
        except BaseException as error:  # noqa: BLE001  raised again below
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    if failures:
        raise failures[0]
    return results
