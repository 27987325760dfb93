"""Claims go to the processes with the most free slots."""

from collections import Counter

from jobs.scheduling.process_queues import choose_processes


def test_claims_are_spread_over_the_free_slots():
    chosen = choose_processes(6, free={"a": 10, "b": 8, "c": 1})

    assert Counter(chosen) == {"a": 4, "b": 2}


def test_a_process_gets_no_more_than_its_free_slots():
    chosen = choose_processes(10, free={"a": 2, "b": 3, "full": 0, "over": -1})

    assert Counter(chosen) == {"a": 2, "b": 3}


def test_without_processes_there_is_no_choice():
    assert choose_processes(3, free={}) == []
