"""After a power cut: what was synced is there, nothing is altered or invented, and the start works."""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.clock import SystemClock
from holdfast.storage.disk_writer import DiskWriter
from holdfast.storage.frames import scan
from holdfast.storage.ledger import Ledger
from holdfast.storage.recovery import recover
from tests.power import Choose, ForgetfulFileSystem

from . import samples

NEVER_S = 3600.0
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(1, 12)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("sync"), st.just(0)),
        st.tuples(st.just("complete"), st.just(0)),
    ),
    min_size=1,
    max_size=15,
)


async def history(
    files: ForgetfulFileSystem, root: Path, steps: list[tuple[str, int]], seed: int
) -> tuple[int, int]:
    """Plays `steps` and cuts the power; returns how many readings were made and how many of them were synced."""
    clock = SystemClock()
    writer = DiskWriter(files, clock, Ledger(clock.time_ns()), NEVER_S, NEVER_S)
    appender = writer.open(str(root), samples.metadata(), 600)
    made = written = synced = 0
    for step, count in steps:
        if step == "read":
            for _ in range(count):
                appender.append(samples.message(made))
                made += 1
        else:
            await writer.flush()
            written = made
        if step == "complete":
            await writer.complete()
            synced = written
        if step == "sync":
            await asyncio.to_thread(files.sync, str(root))
            synced = written
    files.cut_power(_chooser(seed))
    await writer.close()
    return made, synced


def _chooser(seed: int) -> Choose:
    source = random.Random(seed)
    return lambda most: source.randint(0, most)


def readable(root: Path) -> list[int]:
    numbers = []
    for path in samples.files_under(root, ".capture"):
        for reading in scan(path.read_bytes()).readings:
            numbers.append(samples.number_of(reading))
    return numbers


@given(STEPS, st.integers(0, 2**32))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_power_cut_costs_what_was_not_synced_and_nothing_else(
    tmp_path: Path, steps: list[tuple[str, int]], seed: int
) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    made, synced = asyncio.run(history(ForgetfulFileSystem(root), root, steps, seed))
    clock = SystemClock()
    recover(ForgetfulFileSystem(root), clock, Ledger(clock.time_ns()), str(root), lambda path: False)
    found = readable(root)
    assert len(found) == len(set(found)), "nothing twice"
    assert set(found) <= set(range(made)), "nothing invented"
    assert set(range(synced)) <= set(found), "what was synced is there"
    assert samples.files_under(root, ".prog") == [], "nothing is left behind"


def test_a_file_with_its_final_name_is_whole_after_a_power_cut(tmp_path: Path) -> None:
    """Otherwise the builtin, which reads `.capture` files without a check, would drop or invent readings."""
    for seed in range(200):
        root = tmp_path / str(seed)
        root.mkdir()
        steps = [("read", 20), ("flush", 0), ("complete", 0), ("read", 5), ("flush", 0)]
        asyncio.run(history(ForgetfulFileSystem(root), root, steps, seed))
        for path in samples.files_under(root, ".capture"):
            found = scan(path.read_bytes())
            assert found.torn_bytes == 0 and found.damaged == []
