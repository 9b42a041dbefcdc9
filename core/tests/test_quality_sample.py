"""Which replies are read when there are very many."""

from __future__ import annotations

from palaver.quality.sample import Sample


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(sample: Sample, clock: Clock, *, per_s: float, seconds: float, listeners: int) -> set[int]:
    """Run turns of many listeners, and return whose replies were read in the last second."""
    turns = int(per_s * seconds)
    read: set[int] = set()
    for number in range(turns):
        clock.now += 1 / per_s
        if sample.takes(("npc", number % listeners)) and number >= turns - per_s:
            read.add(number % listeners)
    return read


def test_reads_all_of_few() -> None:
    """Where there are fewer than it may read, every reply is read."""
    clock = Clock()
    sample = Sample(50, clock=clock)
    assert run(sample, clock, per_s=40, seconds=10, listeners=40) == set(range(40))
    assert sample.share == 1


def test_reads_some_listeners_of_many() -> None:
    """Of ten times as many a tenth is read, of always the same listeners."""
    clock = Clock()
    sample = Sample(50, clock=clock)
    first = run(sample, clock, per_s=500, seconds=6, listeners=500)
    again = run(sample, clock, per_s=500, seconds=6, listeners=500)
    assert 0.08 < sample.share < 0.12
    # Half as many and twice as many: the choice is by chance.
    assert 25 <= len(first) <= 100
    assert len(first & again) >= 0.9 * len(first)


def test_reads_all_again_when_it_is_quiet() -> None:
    """When the rush is over, every reply is read again."""
    clock = Clock()
    sample = Sample(50, clock=clock)
    run(sample, clock, per_s=500, seconds=6, listeners=500)
    assert run(sample, clock, per_s=20, seconds=10, listeners=20) == set(range(20))


def test_burst_is_no_rate() -> None:
    """A burst at one moment leaves a share that is not nothing."""
    clock = Clock()
    sample = Sample(50, clock=clock)
    for number in range(300):
        sample.takes(number)
    assert sample.share > 0.1


def test_smaller_share_is_of_the_same() -> None:
    """Who is read in a great rush was read in a small one: their replies stay comparable."""
    clock = Clock()
    sample = Sample(50, clock=clock)
    many = run(sample, clock, per_s=200, seconds=8, listeners=200)
    few = run(sample, clock, per_s=1_000, seconds=8, listeners=200)
    assert few
    assert few <= many
