"""What an audit concludes for a store from a walk."""

from __future__ import annotations

import pytest

from holdfast.storage.ledger.counts import CollectorId
from holdfast.storage.ledger.moves import Move, MoveKind
from holdfast.sync.walk.audit import Audit
from holdfast.sync.walk.walk import Walk
from tests.fakes import FakeClock
from tests.waiting import eventually

from ..conftest import API, World

LIDAR: CollectorId = (API, "lidar", "Readings")


@pytest.mark.parametrize("in_the_middle", [True, False])
async def test_readings_that_are_just_put_back_when_the_walk_begins_have_not_vanished(
    world: World, in_the_middle: bool
) -> None:
    """Such readings already count as on disk, but the walk may pass before their file has its name."""
    await eventually(lambda: world.store.recovered_all)
    ledger = world.ledger
    for _ in range(5):
        ledger.count_captured(LIDAR)
    ledger.note_completing(LIDAR, "/x.prog", 5)
    with ledger.counting("/x.capture", Move(MoveKind.QUARANTINED, LIDAR, 5)):
        pass
    failed = str(world.folder / "failed" / "x.capture")
    ledger.begin_move(failed, Move(MoveKind.PUT_BACK, LIDAR, 5))
    if not in_the_middle:
        ledger.end_moves([failed])
    clock = FakeClock()
    audit = Audit(world.store)
    if in_the_middle:
        ledger.end_moves([failed])
    walk = Walk(world.files, clock, [str(world.folder)], 0.0)
    assert list(walk) == []
    audit.finish(walk, [])
    counts = ledger.readings()[LIDAR]
    assert (counts.vanished, counts.on_disk) == ((0, 5) if in_the_middle else (5, 0))
