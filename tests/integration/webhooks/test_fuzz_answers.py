"""A short round of `make fuzz` for receivers' answers."""

from tests.fuzz import receiver_answers

ROUNDS, SEED = 1500, 4


def test_whatever_a_receiver_answers_it_ends_in_time_and_can_be_stored():
    ends = receiver_answers.run(ROUNDS, SEED)

    assert ends.total() == ROUNDS
    # The mutations reach all sorts of ends.
    assert {"2xx", "bad_response", "connection_lost", "timeout"} <= set(ends)
