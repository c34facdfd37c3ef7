"""The spool: what waits on the disk comes once, in order and under its name, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.mongo import segments
from holdfast.mongo import spool as spool_module
from holdfast.mongo.records import Header
from holdfast.mongo.spool import Spool
from holdfast.storage.layout import FileKind, kind_of
from tests.fakes import FaultyFileSystem, LateClock
from tests.waiting import eventually

LIDAR = ("rdk:component:sensor", "lidar", "Readings")
RADAR = ("rdk:component:sensor", "radar", "Readings")
NEVER_S = 3600.0
MANY = 1 << 30


def message(number: int, size_bytes: int = 40) -> bytes:
    return b"%d:" % number + b"x" * size_bytes


class Spools:
    """Spools of one folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = FaultyFileSystem()
        self.spools: list[Spool] = []

    def open(self, *, adopt: bool = True) -> Spool:
        spool = Spool(self.files, SystemClock(), str(self.folder), NEVER_S, lambda: None)
        self.spools.append(spool)
        if adopt:
            spool.reader.adopt()
        return spool

    def close(self) -> None:
        self.files.resume_writes()
        for spool in self.spools:
            spool.close()


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    made = Spools(tmp_path)
    yield made
    made.close()


def take(spool: Spool, most: int = MANY, *, finish: bool = True) -> list[tuple[int, bytes]]:
    """Returns what can be read now: the number in each message, and the reading's name."""
    taken: list[tuple[int, bytes]] = []
    while most > 0 and (batch := spool.reader.next_batch(min(most, 100), 1 << 20)) is not None:
        for reading in batch.readings:
            taken.append((int(reading.message.partition(b":")[0]), reading.life + b"%d" % reading.number))
        most -= len(batch.readings)
        if not finish:
            break
        spool.reader.finish(batch, {})
    return taken


def numbers(taken: list[tuple[int, bytes]]) -> list[int]:
    return [number for number, _ in taken]


def assert_sum(spool: Spool) -> None:
    counts = spool.counts
    assert counts.taken + counts.found == counts.written + sum(counts.dropped.values()) + spool.waiting().readings


async def append(spool: Spool, first: int, count: int, size_bytes: int = 40) -> None:
    for number in range(first, first + count):
        spool.append(LIDAR if number % 3 else RADAR, message(number, size_bytes))
    await spool.flush()


async def test_readings_come_in_order_with_their_origin_over_many_files(spools: Spools) -> None:
    spool = spools.open()
    for first in range(0, 3000, 500):
        await append(spool, first, 500, 2000)
    assert len(list(Path(spool.folder).iterdir())) > 1
    taken = []
    while (batch := spool.reader.next_batch(100, 1 << 20)) is not None:
        for reading in batch.readings:
            number = int(reading.message.partition(b":")[0])
            assert reading.origin == (LIDAR if number % 3 else RADAR)
            taken.append(number)
        spool.reader.finish(batch, {})
    assert taken == list(range(3000))
    assert spool.waiting()[:2] == (0, 0)
    assert_sum(spool)


async def test_a_file_that_is_done_is_removed_and_a_closed_spool_leaves_none(spools: Spools) -> None:
    spool = spools.open()
    await append(spool, 0, 3000, 1000)
    take(spool)
    spool.close()
    spool.reader.close()
    assert [path.name for path in Path(spool.folder).iterdir()] == ["acknowledged.prog"]


async def test_a_batch_that_is_not_finished_comes_again_under_the_same_names(spools: Spools) -> None:
    spool = spools.open()
    await append(spool, 0, 250)
    done = take(spool, 100)
    out = take(spool, 100, finish=False)
    spool.close()
    again = spools.open()
    assert again.counts.found == 150
    taken = take(again)
    assert numbers(done + taken) == list(range(250))
    assert taken[: len(out)] == out
    assert_sum(again)


async def test_what_was_done_is_not_given_again(spools: Spools) -> None:
    spool = spools.open()
    await append(spool, 0, 300)
    take(spool, 200)
    (crashed,) = (path for path in Path(spool.folder).glob("0*.prog"))
    assert crashed.exists()
    again = spools.open()
    assert numbers(take(again)) == list(range(200, 300))


async def test_names_never_repeat(spools: Spools) -> None:
    names: list[bytes] = []
    for life in range(5):
        spool = spools.open()
        await append(spool, life * 100, 100)
        names += [name for _, name in take(spool)]
        spool.close()
    assert len(names) == len(set(names)) == 500


async def test_what_earlier_runs_left_comes_first_in_its_order(spools: Spools) -> None:
    for life in range(3):
        spool = spools.open(adopt=False)
        await append(spool, life * 100, 100)
        spool.close()
    last = spools.open()
    await append(last, 300, 100)
    assert last.counts.found == 300
    assert numbers(take(last)) == list(range(400))
    assert_sum(last)


async def test_files_are_private_and_left_alone_by_the_builtin(spools: Spools) -> None:
    spool = spools.open()
    await append(spool, 0, 100)
    take(spool, 50)
    found = list(Path(spool.folder).iterdir())
    assert len(found) == 2
    for path in found:
        assert kind_of(str(path)) is FileKind.IN_PROGRESS
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(spool.folder).stat().st_mode) == 0o700


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_whatever_a_crash_cuts_off_costs_what_it_cut_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spools = Spools(folder)
    spool = spools.open()
    await append(spool, 0, 40)
    done = take(spool, data.draw(st.integers(0, 40)))
    (path,) = Path(spool.folder).glob("0*.prog")
    whole = path.read_bytes()
    kept = data.draw(st.integers(0, len(whole)))
    tail = data.draw(st.sampled_from([b"", b"\0" * 512, b"\xff" * 100, whole[:64]]))
    path.write_bytes(whole[:kept] + tail)
    again = spools.open()
    rest = numbers(take(again))
    assert rest == list(range(len(done), len(done) + len(rest)))
    if kept == len(whole):
        assert len(done) + len(rest) == 40
    assert_sum(again)
    assert again.waiting().readings == 0
    spools.close()


@hypothesis_settings(max_examples=60, deadline=None)
@given(data=st.data())
async def test_a_flipped_bit_never_gives_an_altered_reading_and_is_counted(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    spools = Spools(tmp_path_factory.mktemp("spool"))
    spool = spools.open()
    await append(spool, 0, 40)
    whole = {message(number) for number in range(40)}
    (path,) = Path(spool.folder).glob("0*.prog")
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    batch = spool.reader.next_batch(MANY, 1 << 20)
    assert batch is not None
    assert {reading.message for reading in batch.readings} <= whole
    spool.reader.finish(batch, {})
    spool.close()
    while (batch := spool.reader.next_batch(MANY, 1 << 20)) is not None:
        spool.reader.finish(batch, {})
    assert spool.counts.written + spool.counts.dropped["damaged"] == 40
    assert spool.waiting().readings == 0
    spools.close()


async def test_the_spool_is_bounded_and_gives_up_the_oldest(
    spools: Spools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MAX_BYTES", 5 * 1024 * 1024)
    spool = spools.open()
    for first in range(0, 8000, 500):
        await append(spool, first, 500, 2000)
        size_bytes = sum(path.stat().st_size for path in Path(spool.folder).iterdir())
        assert size_bytes <= 5 * 1024 * 1024
    dropped = spool.counts.dropped["spool_full"]
    assert dropped > 4000
    assert numbers(take(spool)) == list(range(dropped, 8000))
    assert_sum(spool)


def test_sixty_four_mebibytes_wait_and_not_one_byte_more() -> None:
    most_bytes, header = 64 * 1024 * 1024, Header(b"life", 0, 0)
    kept = segments.Segments()
    sizes = [1024 * 1024] * 63 + [1024 * 1024 - 1, 1]
    for place, size_bytes in enumerate(sizes):
        kept.add(segments.Segment(str(place), place, header, 0, size_bytes, 0, 1, 0, oldest_ns=0, complete=True))
    assert kept.waiting()[1] == most_bytes and kept.give_up_one() is None
    kept.add(segments.Segment("last", 99, header, 0, 1, 0, 1, 0, oldest_ns=0, complete=True))
    given_up = kept.give_up_one()
    assert given_up is not None and given_up.place == 0
    assert kept.give_up_one() is None
    assert kept.counts.dropped == {segments.SPOOL_FULL: 1}


async def test_what_is_on_its_way_is_not_given_up(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_BYTES", 3 * 1024 * 1024)
    spool = spools.open()
    await append(spool, 0, 600, 2000)
    batch = spool.reader.next_batch(10, 1 << 20)
    assert batch is not None
    for first in range(600, 6000, 600):
        await append(spool, first, 600, 2000)
    spool.reader.finish(batch, {})
    taken = numbers(take(spool))
    assert taken == sorted(taken)
    assert spool.counts.written == 10 + len(taken)
    assert_sum(spool)


async def test_a_stalled_disk_holds_up_nobody_and_is_counted(
    spools: Spools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "MAX_PENDING_BYTES", 100_000)
    spool = spools.open()
    spools.files.stall_writes()
    for number in range(3000):  # returns although the disk stands still
        spool.append(LIDAR, message(number))
    dropped = spool.counts.dropped["disk_too_slow"]
    assert dropped > 1000
    spools.files.resume_writes()
    await spool.flush()
    assert numbers(take(spool)) == list(range(3000 - dropped))
    assert_sum(spool)


@pytest.mark.parametrize("partial_bytes", [0, 100])
@pytest.mark.parametrize("operations", [("write",), ("write", "truncate"), ("create",), ("make_folder", "write")])
async def test_a_disk_that_fails_costs_what_it_refused_and_goes_on_by_itself(
    spools: Spools, operations: tuple[str, ...], partial_bytes: int
) -> None:
    spool = spools.open()
    if "create" not in operations and "make_folder" not in operations:
        await append(spool, 0, 100)
    before = spool.counts.taken
    with spools.files.failing(*operations, code=errno.ENOSPC, partial_bytes=partial_bytes):
        await append(spool, 100, 50)
    assert dict(spool.counts.dropped) == {"no_space": 50}
    await append(spool, 200, 100)
    assert numbers(take(spool)) == [*range(before), *range(200, 300)]
    assert_sum(spool)


async def test_what_a_failed_write_left_never_shares_a_name_with_a_later_reading(spools: Spools) -> None:
    """Otherwise the later one would count as a document that is already there."""
    spool = spools.open()
    await append(spool, 0, 10)
    with spools.files.failing("write", "truncate", code=errno.ENOSPC, partial_bytes=2000):
        await append(spool, 100, 50)
    await append(spool, 200, 50)
    found = take(Spools(spools.folder).open())
    assert {number for number, _ in found} & set(range(100, 150)), "the write left some"
    assert set(range(200, 250)) <= {number for number, _ in found}
    assert len({name for _, name in found}) == len(found)


async def test_a_file_that_can_not_be_read_costs_its_own_readings(spools: Spools) -> None:
    spool = spools.open()
    for first in range(0, 3000, 600):
        await append(spool, first, 600, 2000)
    with spools.files.failing("open", "read_at", code=errno.EIO):
        batch = spool.reader.next_batch(MANY, 1 << 20)
    assert batch is not None and batch.readings == []
    spool.reader.finish(batch, {})
    lost = spool.counts.dropped["io_error"]
    assert 0 < lost < 3000
    assert numbers(take(spool)) == list(range(lost, 3000))
    assert_sum(spool)


async def test_where_nothing_can_be_remembered_or_removed_readings_go_on(spools: Spools) -> None:
    spool = spools.open()
    await append(spool, 0, 300)
    with spools.files.failing("replace", "remove", code=errno.EROFS):
        assert numbers(take(spool)) == list(range(300))
    assert_sum(spool)


async def test_a_file_of_a_newer_version_is_left_as_it_is(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spools.open()
    with monkeypatch.context() as newer:
        newer.setattr("holdfast.mongo.records.VERSION", 2)
        await append(spool, 0, 10)
        spool.close()
    (path,) = Path(spool.folder).glob("0*.prog")
    again = spools.open()
    assert take(again) == []
    assert path.exists()


async def test_what_is_too_large_for_any_server_is_counted_at_once(spools: Spools) -> None:
    spool = spools.open()
    spool.append(LIDAR, bytes(spool_module.MAX_READING_BYTES))
    await append(spool, 0, 1)
    assert dict(spool.counts.dropped) == {"too_large": 1}
    assert numbers(take(spool)) == [0]


async def test_readings_come_within_the_flush_interval_without_being_told(spools: Spools) -> None:
    spool = Spool(FileSystem(), SystemClock(), str(spools.folder), 0.01, lambda: None)
    spools.spools.append(spool)
    spool.append(LIDAR, message(0))
    taken: list[tuple[int, bytes]] = []
    await eventually(lambda: taken.extend(take(spool)) or taken)  # type: ignore[func-returns-value]
    assert numbers(taken) == [0]


async def test_a_thread_that_comes_late_flushes_at_once(spools: Spools) -> None:
    spool = Spool(FileSystem(), LateClock(), str(spools.folder), 600.0, lambda: None)
    spools.spools.append(spool)
    spool.append(LIDAR, message(0))
    taken: list[tuple[int, bytes]] = []
    await eventually(lambda: taken.extend(take(spool)) or taken)  # type: ignore[func-returns-value]
    assert numbers(taken) == [0]


async def test_the_age_of_the_oldest_is_known(spools: Spools) -> None:
    spool = spools.open()
    assert spool.waiting().oldest_ns is None
    spool.append(LIDAR, message(0))
    in_memory = spool.waiting().oldest_ns
    await spool.flush()
    assert spool.waiting().oldest_ns == in_memory is not None
    take(spool)
    assert spool.waiting().oldest_ns is None


def test_a_folder_that_is_not_there_is_no_backlog(spools: Spools) -> None:
    with suppress(FileNotFoundError):
        os.rmdir(spools.folder / ".holdfast")
    assert take(spools.open()) == []
