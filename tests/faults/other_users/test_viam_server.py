"""Another user of the computer beside the real viam-server, which runs as root."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import grpc
import pytest

from tests.e2e.machines import Machine, Servers, a_machine, readings_of, until
from tests.problems import problems_in
from tests.sync.conftest import write_old_file

from .neighbour import UID
from .place import Place


@pytest.fixture
async def machine(viam_server: Servers, place: Place) -> AsyncIterator[Machine]:
    folder = place.base / "machine"
    folder.mkdir()
    async with a_machine(viam_server, folder) as made:
        yield made


def contents(machine: Machine) -> list[bytes]:
    return sorted(content for _, content in machine.files)


async def test_neither_links_nor_a_planted_failed_lead_out_of_a_sync_path(machine: Machine, place: Place) -> None:
    place.neighbour.link(place.key, place.logs / "key.txt")
    place.neighbour.link(place.etc, place.logs / "failed")
    place.neighbour.link(place.etc / "logs", place.home / "app")
    place.neighbour.file(place.logs / "refused.txt")
    before = place.untouchable()
    machine.cloud.fail_while = lambda method, request: (
        grpc.StatusCode.INVALID_ARGUMENT if b"refused" in (request or b"") else None
    )
    paths = [str(place.logs), str(place.home / "app")]
    await machine.start(additional_sync_paths=paths, file_last_modified_millis=1)
    place.neighbour.file(place.logs / "own.txt", "own")
    await until(lambda: b"own" in contents(machine), "the neighbour's own file arrives")
    place.neighbour.file(place.logs / "later.txt", "later")
    await until(lambda: b"later" in contents(machine), "what comes later arrives too")
    log = machine.server.log_text
    await until(lambda: str(place.logs / "failed") in log(), "the refused file can't be kept")
    assert contents(machine) == [b"later", b"own"]
    assert place.untouchable() == before
    assert (place.logs / "key.txt").is_symlink() and (place.logs / "refused.txt").exists()
    problems = problems_in(await machine.status())
    assert any(str(place.home / "app") in problem for problem in problems)
    assert str(place.logs / "key.txt") in log()


@pytest.mark.parametrize("mode", [0o777, 0o1777])
async def test_nothing_is_written_through_a_planted_state_folder_and_all_is_sent_when_it_is_gone(
    mode: int, machine: Machine, place: Place
) -> None:
    machine.capture_dir.mkdir()
    machine.capture_dir.chmod(mode)
    planted = place.neighbour.link(place.etc, machine.capture_dir / ".holdfast")
    before = place.untouchable()
    source = machine.source("counting")
    await machine.start(components=[source.component], capture_methods=[readings_of("counting", 50)])
    await machine.until_captured("counting", 20)
    status = await machine.status()
    assert str(planted) in status["sync"]["state"]
    assert machine.arrived == [] and place.untouchable() == before
    planted.unlink()
    await until(lambda: len(machine.of("counting")) >= 20, "the readings arrive")
    problem = f"{machine.capture_dir} may be written by all users"
    assert any(problem in each for each in problems_in(await machine.status()))
    await machine.stop_capture_and_sync()
    seqs = machine.seqs("counting")
    assert len(seqs) == len(set(seqs)) and place.untouchable() == before


async def test_a_capture_folder_in_the_home_of_another_user_works(machine: Machine, place: Place) -> None:
    machine.capture_dir = place.home / ".viam" / "capture"
    place.neighbour.folder(place.home / ".viam")
    source = machine.source("counting")
    await machine.start(
        components=[source.component],
        capture_dir=str(machine.capture_dir),
        capture_methods=[readings_of("counting", 50)],
        additional_sync_paths=[str(place.logs)],
    )
    await machine.until_captured("counting", 20)
    own = place.neighbour.file(place.logs / "own.txt", "own")
    await machine.stop_capture_and_sync()
    assert len(machine.seqs("counting")) >= 20
    await until(lambda: contents(machine) == [b"own"] and not own.exists(), "the neighbour's file arrives")
    assert machine.capture_dir.stat().st_uid == os.geteuid() and place.home.stat().st_uid == UID


async def test_a_link_of_root_is_followed_to_a_file_of_root(machine: Machine, place: Place) -> None:
    folder = machine.folder / "logs"
    write_old_file(folder / "target" / "a.log", b"of root")
    (folder / "synced").mkdir()
    (folder / "synced" / "link.log").symlink_to("../target/a.log")
    await machine.start(additional_sync_paths=[str(folder / "synced")], file_last_modified_millis=1)
    await until(lambda: contents(machine) == [b"of root"], "what the link leads to arrives")
    await until(lambda: not os.listdir(folder / "synced"), "the link is deleted")
    assert (folder / "target" / "a.log").exists()
