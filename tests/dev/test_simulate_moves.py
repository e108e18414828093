"""Moving running streams, in simulated time."""

from random import Random

from simulate_moves import TRAFFIC, quantile
from simulation.gateways import Ours
from simulation.machine import Hardware
from simulation.moves import Moved, Moving, MovingMesh
from simulation.request import Request
from simulation.steps import CHUNK, StepMachine, Stream
from simulation.traffic import Traffic

STAY = Moving("stay")
EAGER = Moving("eager", ratio=1.25, margin=4, a_second=16.0)


def run(workload: str, moving: Moving) -> Moved:
    """A small mesh."""
    work, rate = TRAFFIC[workload]
    mesh = MovingMesh(Ours(Random(1)), 4, Hardware(), moving)
    return mesh.run(work, Traffic(work, rate * 4, 1), 600, 200)


def test_a_step_reads_a_chunk_and_tells_a_token_of_what_is_read() -> None:
    """All that run wait for it; what was read before is not read again."""
    hardware = Hardware()
    machine = StepMachine(hardware)
    long = Stream(Request(0.0, 0, 0, list(range(2 * CHUNK // 64)), 9, 0))
    machine.take(long)
    seconds, telling = machine.step(0.0)
    assert (round(seconds, 6), telling) == (round(hardware.step_s + CHUNK * hardware.prefill_s, 6), [])
    assert machine.step(1.0)[1] == [long]
    again = Stream(long.request)
    machine.take(again)
    seconds, telling = machine.step(2.0)
    assert telling == [long, again]
    assert seconds < hardware.step_s + 2 * hardware.row_s + 2 * hardware.prefill_s
    machine.slowness = 10.0
    assert machine.step(3.0)[0] == 10 * (hardware.step_s + hardware.row_s)
    machine.drop(long)
    assert machine.load == 1


def test_nothing_is_lost_by_moving() -> None:
    """Every answer is complete; loads are more even, and who is moved waits."""
    stays, moves = run("conversations", STAY), run("conversations", EAGER)
    assert (len(stays.totals), len(moves.totals)) == (600, 600)
    assert (stays.moves, moves.moves > 20) == (0, True)
    assert sum(moves.imbalance) / len(moves.imbalance) < sum(stays.imbalance) / len(stays.imbalance)
    assert quantile(moves.pauses, 0.99) > quantile(stays.pauses, 0.99)


def test_the_same_seed_gives_the_same_outcome() -> None:
    """Nothing in it is left to chance."""
    one, other = run("bursts", EAGER), run("bursts", EAGER)
    assert (one.totals, one.moves) == (other.totals, other.moves)
