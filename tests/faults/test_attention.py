"""`neglect` finds a sensor that is not read as often as it should be."""

from __future__ import annotations

from collections.abc import Iterable

from tests.e2e.machines import Served

from .attention import LONGEST_SILENCE_S, neglect
from .calls import SECOND_NS

HZ = 10


def served(numbers: Iterable[int]) -> list[Served]:
    """Returns readings at 10 Hz, by their numbers."""
    return [Served(number, number * SECOND_NS // HZ) for number in numbers]


def at_s(seconds: float) -> int:
    return int(seconds * SECOND_NS)


def test_all_is_good_when_it_is_asked_all_the_time() -> None:
    assert not neglect(served(range(600)), HZ, at_s(60))


def test_it_may_rest_while_the_machine_starts_again() -> None:
    assert not neglect(served([*range(100), *range(350, 600)]), HZ, at_s(60))


def test_it_may_not_rest_for_long() -> None:
    long = int((LONGEST_SILENCE_S + 1) * HZ)
    assert "was not asked for 31 s" in neglect(served([*range(100), *range(100 + long, 600)]), HZ, at_s(60))[0]


def test_it_may_not_stop_before_the_end() -> None:
    assert neglect(served(range(200)), HZ, at_s(60))
    assert not neglect(served(range(200)), HZ, at_s(20))


def test_it_may_not_be_asked_more_rarely_than_it_should_be() -> None:
    rare = [Served(number, int(number * 0.99 * SECOND_NS)) for number in range(60)]
    assert neglect(rare, 2 * HZ, at_s(59)) == ["was asked 5% of the times at which it should be, 50% must be"]


def test_it_has_to_be_asked_at_all() -> None:
    assert neglect([], HZ, at_s(60)) == ["was never asked"]
