"""After a power cut what was synced is there, nothing is altered, invented or counted twice, and the start
works."""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.base.clock import SystemClock
from holdfast.storage.ledger import journal
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.storage.ledger.known_files import Acknowledged
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.recovery import Recovery
from holdfast.storage.writing.disk_writer import DiskWriter
from tests.power import Choose, ForgetfulFileSystem

from . import samples
from .ledgers import LIDAR
from .lives import Later

NEVER_S = 3600.0
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(1, 12)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("sync"), st.just(0)),
        st.tuples(st.just("complete"), st.just(0)),
        st.tuples(st.just("deliver"), st.integers(1, 12)),
    ),
    min_size=1,
    max_size=15,
)


@pytest.fixture(autouse=True)
def small_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the journal begin a new file often, so that power is cut then too."""
    monkeypatch.setattr(journal, "MAX_BYTES", 300)


@dataclass
class Played:
    """How many readings were made, synced, and taken by the cloud. They are numbered from 0."""

    made: int = 0
    synced: int = 0
    delivered: int = 0
    gone: int = 0
    """Delivered readings whose file was removed; they are the oldest."""


async def history(files: ForgetfulFileSystem, root: Path, steps: list[tuple[str, int]], seed: int) -> Played:
    """Plays `steps`, and cuts the power at the end."""
    clock, played, written = SystemClock(), Played(), 0
    ledger = Ledger(files, str(root))
    writer = DiskWriter(files, clock, ledger, str(root), NEVER_S, NEVER_S)
    ledger.attach(writer.completion.wrote)
    appender = writer.open(samples.metadata(), 600)
    for step, count in steps:
        if step == "read":
            for _ in range(count):
                appender.append(samples.message(played.made))
                played.made += 1
        elif step == "deliver":
            deliver(files, root, ledger, played, count)
        else:
            await writer.flush()
            written = played.made
        if step == "complete":
            await writer.complete()
            played.synced = written
        if step == "sync":
            await asyncio.to_thread(files.sync, str(root))
            played.synced = written
    files.cut_power(_chooser(seed))
    await writer.close()
    ledger.close()
    return played


def deliver(files: ForgetfulFileSystem, root: Path, ledger: Ledger, played: Played, count: int) -> None:
    """Lets the cloud take up to `count` readings of the oldest file."""
    for path in samples.files_under(root, ".capture")[:1]:
        readings, modified_ns = samples.scan(path.read_bytes()).readings, path.stat().st_mtime_ns
        known = ledger.acknowledged_of(str(path), modified_ns)
        part = readings[known : known + count]
        acknowledged = Acknowledged(known + len(part), modified_ns)
        ledger.count_delivered(LIDAR, str(path), acknowledged, len(part), ours=True)
        played.delivered += len(part)
        if acknowledged.readings == len(readings):
            files.remove(str(path))
            ledger.forget_file(str(path))
            played.gone += len(readings)


def start(root: Path) -> Ledger:
    """Opens the folder as the next start does."""
    files = ForgetfulFileSystem(root)
    ledger = Ledger(files, str(root))
    ledger.attach(lambda: None)
    for left in Recovery(files, Later(), ledger, str(root), lambda path: False):
        left.complete()
    return ledger


def _chooser(seed: int) -> Choose:
    source = random.Random(seed)
    return lambda most: source.randint(0, most)


def readable(root: Path) -> list[int]:
    paths = samples.files_under(root, ".capture")
    return [samples.number_of(reading) for path in paths for reading in samples.scan(path.read_bytes()).readings]


def unacknowledged(root: Path, ledger: Ledger) -> int:
    """Returns how many readings in the folder the ledger does not know as delivered."""
    return sum(
        len(samples.scan(path.read_bytes()).readings) - ledger.acknowledged_of(str(path), path.stat().st_mtime_ns)
        for path in samples.files_under(root, ".capture")
    )


@given(STEPS, st.integers(0, 2**32))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_power_cut_costs_what_was_not_synced_and_nothing_else(
    tmp_path: Path, steps: list[tuple[str, int]], seed: int
) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    played = asyncio.run(history(ForgetfulFileSystem(root), root, steps, seed))
    ledger = start(root)
    found = readable(root)
    assert len(found) == len(set(found)), "nothing twice"
    assert set(found) <= set(range(played.made)), "nothing invented"
    assert set(range(played.gone, played.synced)) <= set(found), "what was synced is there"
    assert samples.files_under(root, ".prog") == [], "nothing is left behind"
    counts = ledger.readings().get(LIDAR, ReadingCounts())
    lying = unacknowledged(root, ledger)
    assert counts.captured <= played.made and counts.adopted == 0, "nothing is counted twice"
    assert counts.delivered <= played.delivered
    assert counts.unfinished == 0
    # If the cut undid the removal of a file, and the journal began a new file since, the file is sent again.
    back = sum(number < played.gone for number in found)
    assert counts.on_disk + back >= lying, "what lies there is known"
    assert counts.captured - counts.dropped.get("torn", 0) >= played.synced
    if not samples.files_under(root, ".capture"):
        ledger.reconcile(ledger.readings(), (), ())
        assert sum(each.on_disk for each in ledger.readings().values()) == 0
    again = start(root)
    assert again.readings() == ledger.readings(), "the start counted for good"
    assert unacknowledged(root, again) == lying


@given(STEPS, st.integers(0, 2**32))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_a_sync_a_power_cut_leaves_the_counts_exact(
    tmp_path: Path, steps: list[tuple[str, int]], seed: int
) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    files = ForgetfulFileSystem(root)
    played = asyncio.run(history(files, root, [*steps, ("complete", 0), ("sync", 0)], seed))
    ledger = start(root)
    counts = ledger.readings().get(LIDAR, ReadingCounts())
    assert counts == ReadingCounts(captured=played.made, delivered=played.delivered)
    assert counts.on_disk == unacknowledged(root, ledger)


def test_a_file_with_its_final_name_is_whole_after_a_power_cut(tmp_path: Path) -> None:
    """Otherwise the builtin, which reads `.capture` files without a check, would drop or invent readings."""
    for seed in range(80):
        root = tmp_path / str(seed)
        root.mkdir()
        steps = [("read", 20), ("flush", 0), ("complete", 0), ("read", 5), ("flush", 0)]
        asyncio.run(history(ForgetfulFileSystem(root), root, steps, seed))
        for path in samples.files_under(root, ".capture"):
            found = samples.scan(path.read_bytes())
            assert found.torn_bytes == 0 and found.damaged == []
