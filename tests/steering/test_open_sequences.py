"""Open sequences, of commands and of the sensor, and their files, which a thread writes."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.errors import BusyError, CommandError
from holdfast.steering import open_sequences as module
from holdfast.steering import sequence_limits
from holdfast.steering.open_sequences import OpenSequences, SequenceSpec
from holdfast.storage.sequence_files import Sequence, SequenceFiles, read
from tests.fakes import FakeClock, FaultyFileSystem
from tests.waiting import eventually

LIDAR = SequenceSpec((("lidar", "Readings"),), ("a", "b"))
RADAR = SequenceSpec((("radar", "Readings"), ("lidar", "Readings")), ())


class Book:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.files = FaultyFileSystem()
        self.owned = True
        self.sequences = OpenSequences(self.files, self.clock)
        self.place()

    def place(self, name: str = "one") -> None:
        self.sequences.place(str(self.folder / name), lambda: self.owned)

    def names(self, pattern: str = "*") -> list[str]:
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob(pattern) if p.is_file())


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Book]:
    book = Book(tmp_path)
    yield book
    await book.sequences.close()


async def test_a_sequence_is_on_the_disk_from_its_beginning_to_its_end(book: Book) -> None:
    identity = book.sequences.start(LIDAR)
    await book.sequences.settled()
    assert book.names() == [f"one/sequences/{identity}.progseq"]
    start_ns = book.clock.time_ns()
    book.clock.step_wall(2.0)
    assert book.sequences.end(identity) is not None
    await book.sequences.settled()
    assert book.names() == [f"one/sequences/{identity}.seq"]
    found = read(FileSystem(), str(book.folder / book.names()[0]))
    assert (found.resources, found.tags) == (LIDAR.resources, LIDAR.tags)
    assert (found.start_ns, found.end_ns) == (start_ns, start_ns + 2_000_000_000)
    assert book.sequences.end(identity) is None and book.sequences.open == []


async def test_the_file_says_until_when_the_sequence_was_alive(book: Book) -> None:
    identity = book.sequences.start(LIDAR)
    await book.sequences.settled()
    path = str(book.folder / f"one/sequences/{identity}.progseq")
    first = read(FileSystem(), path).end_ns
    await book.clock.advance(module.ALIVE_S)
    await eventually(lambda: read(FileSystem(), path).end_ns == first - 1 + round(module.ALIVE_S * 1e9))


async def test_the_sensors_sequences_follow_its_readings_in_whatever_order(book: Book) -> None:
    book.sequences.follow([LIDAR, RADAR, LIDAR, SequenceSpec(RADAR.resources[::-1], ())])
    first = {each.identity for each in book.sequences.open}
    assert len(first) == 2
    book.sequences.follow([SequenceSpec(RADAR.resources[::-1], ()), SequenceSpec(LIDAR.resources, ("b", "a"))])
    assert {each.identity for each in book.sequences.open} == first
    assert RADAR.resources in [each.sequence.resources for each in book.sequences.open], "as the first one said it"
    book.sequences.follow([LIDAR])
    await book.sequences.settled()
    assert len(book.names("*.seq")) == 1 and len(book.names("*.progseq")) == 1
    book.sequences.follow([LIDAR, RADAR])
    assert len({each.identity for each in book.sequences.open} - first) == 1


async def test_the_sensor_ends_no_sequence_of_a_user(book: Book) -> None:
    identity = book.sequences.start(LIDAR)
    book.sequences.follow([LIDAR])
    book.sequences.follow([])
    assert [each.identity for each in book.sequences.open] == [identity]


async def test_what_a_crash_left_is_finished_once_the_folder_is_ours(book: Book) -> None:
    book.owned = False
    book.place("two")
    left = SequenceFiles(FileSystem(), str(book.folder / "two"))
    left.write_open("left", Sequence((("a", "b"),), (), 1, 2))
    mine = book.sequences.start(LIDAR)
    await book.sequences.settled()
    assert "two/sequences/left.progseq" in book.names()
    book.owned = True
    await book.clock.advance(1.0)
    await eventually(lambda: "two/sequences/left.seq" in book.names())
    assert f"two/sequences/{mine}.progseq" in book.names()


async def test_a_sequence_is_ended_on_the_disk_while_no_service_is_there_and_goes_on_with_the_next(
    book: Book,
) -> None:
    identity = book.sequences.start(LIDAR)
    await book.sequences.settled()
    await book.sequences.suspend()
    assert book.names() == [f"one/sequences/{identity}.seq"]
    assert book.sequences.is_open(f"/x/{identity}.seq")
    book.sequences.resume()
    await book.sequences.settled()
    assert book.names() == [f"one/sequences/{identity}.progseq"]
    assert [each.identity for each in book.sequences.open] == [identity]


@pytest.mark.parametrize("suspended", [False, True])
async def test_a_clock_that_is_set_back_ends_no_sequence_before_it_began(book: Book, suspended: bool) -> None:
    identity = book.sequences.start(LIDAR)
    await book.sequences.settled()
    book.clock.step_wall(-1e6)
    if suspended:
        await book.sequences.suspend()
    else:
        book.sequences.end(str(identity))
        await book.sequences.settled()
    found = read(FileSystem(), str(book.folder / f"one/sequences/{identity}.seq"))
    assert found.start_ns < found.end_ns


async def test_a_sequence_that_was_delivered_meanwhile_is_over(book: Book) -> None:
    book.sequences.start(LIDAR)
    await book.sequences.suspend()
    (book.folder / book.names()[0]).unlink()
    book.sequences.resume()
    await book.sequences.settled()
    assert book.sequences.open == [] and book.names() == []


async def test_a_sequence_whose_end_the_disk_did_not_take_goes_on_with_the_next_service(book: Book) -> None:
    identity = book.sequences.start(LIDAR)
    await book.sequences.settled()
    with book.files.failing("create", code=errno.ENOSPC):
        await book.sequences.suspend()
    book.sequences.resume()
    await book.sequences.settled()
    assert [each.identity for each in book.sequences.open] == [identity]
    assert book.names() == [f"one/sequences/{identity}.progseq"]
    assert book.sequences.end(identity) is not None
    await book.sequences.settled()
    assert book.names() == [f"one/sequences/{identity}.seq"]


async def test_an_end_that_was_half_taken_back_is_no_second_file(book: Book) -> None:
    identity = book.sequences.start(LIDAR)
    await book.sequences.settled()
    with book.files.failing("remove", code=errno.EIO, on=lambda path: path.endswith(".progseq")):
        await book.sequences.suspend()
    book.sequences.resume()
    await book.sequences.settled()
    assert book.names() == [f"one/sequences/{identity}.progseq"]


async def test_without_a_successor_a_sequence_ended_with_its_service(book: Book) -> None:
    book.sequences.start(LIDAR)
    book.clock.step_wall(1.0)
    await book.sequences.suspend()
    end_ns = book.clock.time_ns()
    book.clock.step_wall(9.0)
    await book.sequences.close()
    (name,) = book.names()
    assert read(FileSystem(), str(book.folder / name)).end_ns == end_ns and name.endswith(".seq")


async def test_an_open_sequence_moves_with_the_capture_folder(book: Book) -> None:
    identity = book.sequences.start(LIDAR)
    await book.sequences.settled()
    book.place("two")
    await book.sequences.settled()
    assert book.names() == [f"two/sequences/{identity}.progseq"]
    assert identity is not None
    book.sequences.end(identity)
    await book.sequences.settled()
    assert book.names() == [f"two/sequences/{identity}.seq"]


async def test_a_sequence_that_ends_with_a_change_of_the_folder_is_in_one_of_them(book: Book) -> None:
    identity = book.sequences.start(LIDAR)
    await book.sequences.suspend()
    book.place("two")
    book.sequences.resume()
    book.sequences.end_all()
    await book.sequences.settled()
    assert book.names() == [f"two/sequences/{identity}.seq"]


async def test_a_sequence_goes_on_though_the_new_folder_takes_it_later(book: Book) -> None:
    identity = book.sequences.start(LIDAR)
    await book.sequences.suspend()
    with book.files.failing("create", code=errno.ENOSPC):
        book.place("two")
        book.sequences.resume()
        await book.sequences.settled()
    await book.sequences.settled()
    assert book.names() == [f"two/sequences/{identity}.progseq"]
    assert [each.identity for each in book.sequences.open] == [identity]


async def test_what_happens_to_others_makes_no_file_tell_less_of_until_when_its_sequence_was_alive(
    book: Book,
) -> None:
    identity = book.sequences.start(LIDAR)
    await book.sequences.settled()
    path = str(book.folder / f"one/sequences/{identity}.progseq")
    first = read(FileSystem(), path).end_ns
    await book.clock.advance(module.ALIVE_S - 0.1)
    book.sequences.start(RADAR)
    await book.sequences.settled()
    await book.clock.advance(0.2)
    await eventually(lambda: read(FileSystem(), path).end_ns >= first - 1 + round(module.ALIVE_S * 1e9))


async def test_who_stops_waiting_for_a_disk_that_stalls_leaves_nothing_that_runs_or_waits(book: Book) -> None:
    book.files.stall_writes()
    identity = book.sequences.start(LIDAR)
    await eventually(book.files.stalled.is_set)
    waiting = asyncio.create_task(book.sequences.settled())
    closing = asyncio.create_task(book.sequences.close())
    await book.clock.settle()
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await asyncio.wait_for(waiting, 20)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "holdfast-sequences"]
    book.files.resume_writes()
    book.place()
    await eventually(lambda: book.names() == [f"one/sequences/{identity}.seq"])


async def test_a_disk_that_refuses_gets_the_sequence_later(book: Book) -> None:
    with book.files.failing("write", code=errno.ENOSPC):
        identity = book.sequences.start(LIDAR)
        await book.sequences.settled()
        assert identity is not None
        book.sequences.end(identity)
        await book.sequences.settled()
        assert book.names("*.seq") == []
    await book.clock.advance(2.0)
    await eventually(lambda: book.names("*.seq") == [f"one/sequences/{identity}.seq"])


@pytest.mark.parametrize(("bound", "most"), [("MAX_OPEN", 3), ("MAX_OPEN_BYTES", 800)])
async def test_no_more_sequences_are_open_than_the_bounds_of_their_number_and_size(
    book: Book, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    monkeypatch.setattr(sequence_limits, bound, most)
    first, *_ = [book.sequences.start(LIDAR) for _ in range(3)]
    with pytest.raises(BusyError, match=r"3 sequences of .* are open, and there may be .*: stop one first"):
        book.sequences.start(LIDAR)
    book.sequences.follow([RADAR])
    assert len(book.sequences.open) == 3, "nor does the control sensor start one"
    book.sequences.end(first)
    await book.sequences.settled()
    assert book.sequences.start(LIDAR)


@pytest.mark.parametrize(("bound", "most"), [("MAX_FILES", 3), ("MAX_FILES_BYTES", 800)])
async def test_sequences_that_nobody_fetches_from_the_disk_are_bounded_in_number_and_size(
    book: Book, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    monkeypatch.setattr(sequence_limits, bound, most)
    for _ in range(3):
        book.sequences.end(book.sequences.start(LIDAR))
    with pytest.raises(BusyError, match=r"3 sequences of .* lie on the disk"):
        book.sequences.start(LIDAR)
    await book.sequences.settled()
    with pytest.raises(BusyError, match=r"3 sequences of .* lie on the disk"):
        book.sequences.start(LIDAR)
    (book.folder / book.names()[0]).unlink()
    await book.sequences.settled()
    assert book.sequences.start(LIDAR)


async def test_a_sequence_starts_again_when_those_on_the_disk_were_sent_and_nobody_gave_a_command(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the control sensor."""
    monkeypatch.setattr(sequence_limits, "MAX_FILES", 3)
    for _ in range(3):
        book.sequences.end(book.sequences.start(LIDAR))
    await eventually(lambda: len(book.names()) == 3)
    for name in book.names():
        (book.folder / name).unlink()

    def starts() -> bool:
        try:
            return bool(book.sequences.start(LIDAR))
        except BusyError:
            return False

    assert not starts()
    await eventually(starts)


async def test_a_sequence_that_is_too_large_does_not_start(book: Book) -> None:
    tags = tuple("\0" * 4_000 for _ in range(11))
    with pytest.raises(CommandError, match=r"may have 256 KiB as JSON, and these have 258 KiB"):
        book.sequences.start(SequenceSpec(LIDAR.resources, tags))
    identity = book.sequences.start(SequenceSpec(LIDAR.resources, tags[1:]))
    await book.sequences.settled()
    assert read(FileSystem(), str(book.folder / book.names()[0])).tags == tags[1:], "what starts can be read"
    assert book.sequences.end(identity) is not None
