"""How many handshakes begin in a second is bounded."""

from inferloom_worker.rpc.attach.handshakes import PER_S, Handshakes


def test_whoever_comes_past_the_bound_waits_for_the_next_second() -> None:
    """From the first of them on; those who come now and then never wait."""
    handshakes = Handshakes()
    assert [handshakes.begin(10 + number / 1000) for number in range(PER_S - 1)] == [0.0] * (PER_S - 1)
    assert handshakes.begin(10.5) == 0.5
    assert handshakes.begin(11.0) == 0.0
    assert [handshakes.begin(20 + number / 10) for number in range(3 * PER_S)] == [0.0] * 3 * PER_S
