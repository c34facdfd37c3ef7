"""Invariant 1 across restarts: wherever a process is killed, the next one's ledger agrees with the folder.

The writer, its threads, the journal, recovery and quarantine are the real ones. `lives` plays the delivery, in the
order of the real one.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.storage.ledger import journal

from .ledgers import LIDAR
from .lives import Life, MortalFileSystem, Step, World

ALL_STEPS: list[Step] = [
    ("read", 3),
    ("flush", 0),
    ("builtin", 3),
    ("builtin", 2),
    ("read", 9),
    ("complete", 0),
    ("deliver", 2),
    ("read", 4),
    ("refuse", 2),
    ("read", 4),
    ("complete", 0),
    ("quarantine", 0),
    ("deliver", 99),
    ("deliver", 99),
    ("deliver", 99),
    ("read", 5),
    ("complete", 0),
    ("rm", 0),
    ("read", 3),
    ("complete", 0),
    ("read", 2),
    ("flush", 0),
]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["read", "deliver"]), st.integers(1, 12)),
        st.tuples(st.sampled_from(["flush", "complete", "complete", "quarantine", "rm"]), st.just(0)),
        st.tuples(st.sampled_from(["refuse", "builtin"]), st.integers(1, 4)),
    ),
    max_size=12,
)
TO_THE_END: list[Step] = [("complete", 0), *[("deliver", 1000)] * 60, ("rm", 0)]


@pytest.fixture(autouse=True)
def fast_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the journal begin a new file often."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr(journal, "MAX_BYTES", 400)


async def live(world: World, steps: Sequence[Step], life: int | None, torn_bytes: int = 0) -> int:
    """Plays one life, and returns how many changes to the disk it made."""
    files = MortalFileSystem(life, torn_bytes)
    process = Life(world, files)
    await process.begin()
    await process.play(steps)
    await process.end()
    return files.changes


async def live_to_the_end(world: World) -> None:
    """Lets a last process deliver what there is; then the fate of every reading is known."""
    files = MortalFileSystem(None)
    process = Life(world, files)
    await process.begin()
    await process.play(TO_THE_END)
    await process.end()
    counts = process.ledger.readings()[LIDAR] if process.ledger.readings() else None
    if counts is not None:
        assert counts.on_disk == 0
        assert counts.delivered == world.delivered <= len(world.cloud)
        assert len(set(world.cloud) - world.elsewhere) <= counts.delivered, "what the cloud has counts as delivered"


def test_a_kill_at_any_change_to_the_disk_leaves_the_sum_true(tmp_path: Path) -> None:
    async def run() -> None:
        whole = World(tmp_path / "whole")
        changes = await live(whole, ALL_STEPS, None)
        assert (
            changes > 40
            and whole.delivered > 0
            and whole.quarantined() > 0
            and whole.taken > 0
            and whole.refused > 0
        )
        for life in range(changes + 1):
            world = World(tmp_path / str(life))
            assert await live(world, ALL_STEPS, life, torn_bytes=life * 37) <= life
            assert world.kills or life > changes - 10, "the threads' timing makes a few more or less"
            await live_to_the_end(world)

    asyncio.run(run())


@given(st.lists(st.tuples(STEPS, st.none() | st.integers(0, 40), st.integers(0, 500)), min_size=1, max_size=4))
@example(  # the cloud took what then went into quarantine
    lives=[
        ([("refuse", 1), ("read", 1), ("complete", 0), ("deliver", 1)], 11, 0),
        ([("quarantine", 0)], None, 0),
    ]
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_sum_is_true_after_each_of_several_lives(
    tmp_path: Path, lives: list[tuple[list[Step], int | None, int]]
) -> None:
    async def run() -> None:
        world = World(Path(tempfile.mkdtemp(dir=tmp_path)))
        for steps, life, torn_bytes in lives:
            await live(world, steps, life, torn_bytes)
        await live_to_the_end(world)

    asyncio.run(run())
