"""Arbitrary files that a process has open for writing: they stay, nothing of them is lost, and what was sent is not
sent again. The process is this one, whose own open files count like any other's."""

from __future__ import annotations

import logging
import os
from io import FileIO
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.sync import retries
from holdfast.sync.found import Outcome
from tests.waiting import eventually

from ..conftest import World, make_world, write_old_file
from .test_delivery import attempt, only_file


def contents(world: World) -> list[bytes]:
    return [content for _, content in world.arrived.files]


async def test_a_file_is_sent_when_the_process_that_writes_it_has_closed_it(world: World) -> None:
    path = write_old_file(world.folder / "log", b"one\n")
    with path.open("ab", buffering=0) as log:
        assert await attempt(world) is Outcome.HELD_OPEN
        assert world.delivery.retrying == 0
        (held,) = world.delivery.retries.held_open.items()
        assert held[0] == str(path) and f"({os.getpid()})" in held[1].by
        log.write(b"two\n")
    assert contents(world) == [] and path.read_bytes() == b"one\ntwo\n"
    assert await attempt(world) is Outcome.DELIVERED
    assert contents(world) == [b"one\ntwo\n"] and not path.exists() and not world.delivery.retries.held_open


async def opened_while_sent(world: World, path: Path) -> FileIO:
    """Sends the file while a program opens it to write, and returns what that has open."""
    opened = []

    async def open_it() -> None:
        opened.append(path.open("ab", buffering=0))

    world.cloud.before_answer = open_it
    assert await attempt(world) is Outcome.HELD_OPEN
    world.cloud.before_answer = None
    return opened[0]


async def test_a_file_that_is_opened_while_it_is_sent_stays_and_is_not_sent_again_if_it_does_not_change(
    world: World,
) -> None:
    path = write_old_file(world.folder / "log", b"one\n")
    log = await opened_while_sent(world, path)
    assert await attempt(world) is Outcome.HELD_OPEN
    log.close()
    assert path.exists() and await attempt(world) is Outcome.DELIVERED
    assert contents(world) == [b"one\n"] and not path.exists()
    assert (world.ledger.files.delivered, world.ledger.files.vanished) == (1, 0)


async def test_what_was_written_to_such_a_file_is_sent_with_it(world: World) -> None:
    path = write_old_file(world.folder / "log", b"one\n")
    log = await opened_while_sent(world, path)
    known = only_file(world)
    with log:
        log.write(b"two\n")
    assert await attempt(world, known) is Outcome.WAITING, "it is not as the walk found it"
    assert await attempt(world) is Outcome.DELIVERED
    assert contents(world) == [b"one\n", b"one\ntwo\n"] and not path.exists()


async def test_what_is_known_as_delivered_and_has_changed_since_it_was_found_is_not_deleted(
    tmp_path: Path, failing_removal: type[FileSystem]
) -> None:
    files = failing_removal()
    async with make_world(tmp_path, files=files) as world:
        path = write_old_file(world.folder / "log", b"one\n")
        found = only_file(world)
        assert await attempt(world, found) is Outcome.WAITING
        files.broken = False  # type: ignore[attr-defined]
        with path.open("ab") as log:
            log.write(b"two\n")
        assert await attempt(world, found) is Outcome.WAITING
        assert path.read_bytes() == b"one\ntwo\n"
        assert await attempt(world) is Outcome.DELIVERED
        assert contents(world) == [b"one\n", b"one\ntwo\n"]


async def test_a_manual_sync_names_it_and_fails_for_nothing(world: World) -> None:
    world.rounds.configure(world.settings(disabled=True))
    path = write_old_file(world.folder / "log", b"one\n")
    write_old_file(world.folder / "note", b"x")
    with path.open("ab"):
        report = await world.rounds.sync_now()
    assert (report.files, report.failed.count, report.held_open.first) == (1, 0, [str(path)])
    await eventually(lambda: world.pending == (1, 4))
    assert (await world.rounds.sync_now()).files == 1


async def test_scheduled_sync_sends_the_others_looks_again_and_says_once_who_holds_it(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retries, "HELD_OPEN_S", 0.05)
    caplog.set_level(logging.INFO)
    path = write_old_file(world.folder / "log", b"one\n")
    with path.open("ab"):
        world.rounds.configure(world.settings())
        for number in range(5):
            write_old_file(world.folder / f"note-{number}", b"x")
            await eventually(lambda: not any(world.folder.glob("note-*")))
    await eventually(lambda: not path.exists())
    assert contents(world).count(b"one\n") == 1
    said = [line for line in caplog.messages if "open for writing" in line]
    assert len(said) == 1 and str(path) in said[0] and f"({os.getpid()})" in said[0]


async def test_only_arbitrary_files_are_looked_at_and_only_when_their_turn_has_come(tmp_path: Path) -> None:
    looked_at: list[str] = []

    class Watched(FileSystem):
        def is_open_for_writing(self, path: str) -> bool:
            looked_at.append(path)
            return super().is_open_for_writing(path)

    async with make_world(tmp_path, files=Watched()) as world:
        for number in range(20):
            world.capture_file(f"9999-{number}", [number])
        waiting = write_old_file(world.folder / "waiting", b"x")
        world.delivery.retries.note_failure([str(waiting)])
        sent = write_old_file(world.folder / "sent", b"x")
        world.rounds.configure(world.settings())
        await eventually(lambda: len(world.arrived.numbers) == 20 and not sent.exists())
        assert set(looked_at) - {str(waiting)} == {str(sent)}
