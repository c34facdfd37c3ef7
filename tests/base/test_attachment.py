"""The budget of what requests bring: it is right whenever the garbage collector comes."""

from __future__ import annotations

import gc

import pytest

from holdfast.base.attachment import Budget
from holdfast.errors import BusyError


class Holder:
    """Is collected only by the garbage collector, since it refers to itself."""

    def __init__(self, share: object) -> None:
        self.share = share
        self.myself = self


def test_a_garbage_collection_in_the_midst_of_a_reservation_stops_nothing() -> None:
    budget = Budget(100)
    Holder(budget.reserve(60))
    collected = []

    class Looks(int):
        """A size at the look of which the garbage collector runs."""

        def __radd__(self, other: int) -> int:
            collected.append(gc.collect())
            return other + int(self)

    with pytest.raises(BusyError):
        budget.reserve(Looks(50))
    assert collected
    budget.reserve(50)
    assert budget.reserved_bytes <= 100


def test_a_share_is_given_back_once() -> None:
    budget = Budget(100)
    share = budget.reserve(60)
    share.end()
    share.end()
    del share
    gc.collect()
    assert budget.reserved_bytes == 0
    assert budget.reserve(100)
