"""Cards are read from viam-server's file; what was adopted last holds while that is not possible."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from holdfast.adoption import Adoption, MachineFile, UnknownMachineFileError, adopted_file, machine_file
from holdfast.adoption.machine_file import Content, read
from holdfast.base.filesystem import FileSystem
from holdfast.base.problems import Problem
from holdfast.storage import layout

from ..fakes import FakeClock
from ..waiting import eventually

PART = "part-1"
SECRET = "nobody may see this"


def config(hz: float = 5.0, *, revision: str = "r1", **more: Any) -> dict[str, Any]:
    """A machine's config with one card and a secret."""
    method = {"method": "Readings", "capture_frequency_hz": hz}
    return {
        "revision": revision,
        "cloud": {"secret": SECRET},
        "components": [
            {
                "name": "eye",
                "api": "rdk:component:sensor",
                "attributes": {"password": SECRET},
                "service_configs": [{"type": "data_manager", "attributes": {"capture_methods": [method]}}],
            }
        ],
        **more,
    }


class Server:
    """A viam-server with a machine file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"cached_cloud_config_{PART}.json"
        self.capture_dir = str(folder / "captured")
        self.part_id = PART
        self.running = "r1"
        self.unknown = ""
        os.mkdir(self.capture_dir)

    async def locate(self) -> MachineFile:
        if self.unknown:
            raise UnknownMachineFileError(self.unknown)
        return MachineFile(str(self.path), self.part_id)

    async def revision(self) -> str:
        return self.running

    def write(self, content: object) -> None:
        self.path.write_text(json.dumps(content))

    def adoption(self) -> Adoption:
        return Adoption(FileSystem(), FakeClock(), self.locate, self.revision)

    def replace_by_a_pipe(self) -> None:
        self.path.unlink()
        os.mkfifo(self.path)

    @property
    def kept(self) -> Path:
        return Path(layout.state_path(self.capture_dir, "adopted"))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def frequencies(adoption: Adoption) -> list[float]:
    return [card.values["capture_frequency_hz"] for card in adoption.cards]


def problem_of(adoption: Adoption) -> Problem | None:
    """The first of its problems."""
    return next(iter(adoption.problems), None)


def what_of(adoption: Adoption) -> str:
    problem = problem_of(adoption)
    return problem.what if problem is not None else ""


async def started(server: Server) -> Adoption:
    """An adoption of a start: it reads, and takes over what is kept if it can't."""
    adoption = server.adoption()
    await adoption.look()
    await adoption.use_kept(server.capture_dir)
    return adoption


async def adopted(server: Server) -> Adoption:
    """An adoption of a start: it reads, takes over what is kept, and keeps."""
    adoption = await started(server)
    await adoption.keep(server.capture_dir, ["Readings of eye"])
    return adoption


async def test_the_cards_of_the_file_are_adopted_and_kept_and_nothing_else_of_it(server: Server) -> None:
    server.write(config())
    adoption = await adopted(server)
    (card,) = adoption.cards
    assert (card.source, card.values["name"]) == ("component", "rdk:component:sensor/eye")
    assert (adoption.adopted.path, adoption.adopted.revision) == (str(server.path), "r1")
    assert problem_of(adoption) is None
    assert SECRET not in server.kept.read_text()
    assert server.kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda server: server.path.unlink(), "No such file"),
        (lambda server: server.path.write_text(server.path.read_text()[:100]), "only a part of one"),
        (lambda server: server.path.write_text("[]"), "no JSON object"),
        (lambda server: server.path.write_text("[" * 100_000), "no JSON object"),
        (lambda server: server.write({"components": {SECRET: 1}}), "components of the config must be a list"),
        (lambda server: (server.path.unlink(), server.path.mkdir()), "not a regular file"),
        (lambda server: server.replace_by_a_pipe(), "not a regular file"),
        (lambda server: os.truncate(server.path, 65 << 20), "larger than 64 MiB"),
        (lambda server: setattr(server, "unknown", "viam-server does not tell"), "viam-server does not tell"),
    ],
    ids=["missing", "half", "list", "deep", "wrong-shape", "folder", "pipe", "large", "no-place"],
)
@pytest.mark.parametrize("when", ["while it runs", "at a start"])
async def test_while_the_file_can_not_be_read_what_was_adopted_last_holds(
    server: Server, break_it: Any, said: str, when: str
) -> None:
    server.write(config())
    adoption = await adopted(server)
    good = server.path.read_text()
    break_it(server)
    if when == "at a start":
        adoption = server.adoption()
    await adoption.look()
    await adoption.use_kept(server.capture_dir)
    assert frequencies(adoption) == [5.0]
    assert problem_of(adoption) is not None and said in what_of(adoption)
    assert "adopted last hold" in what_of(adoption) and SECRET not in what_of(adoption)
    await adoption.keep(server.capture_dir, ["Readings of eye"])
    assert json.loads(server.kept.read_text())["cards"]

    server.unknown = ""
    if server.path.is_dir():
        server.path.rmdir()
    elif server.path.exists():
        server.path.unlink()
    server.path.write_text(good)
    await adoption.look()
    assert problem_of(adoption) is None


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
def test_a_file_that_another_user_has_is_told_with_what_helps() -> None:
    """viam-server's file is for its user alone, and a script may start the module as another one."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        server = Server(Path(folder))
        server.write(config())
        server.path.chmod(0o600)
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            adoption = server.adoption()
            asyncio.run(adoption.look())
            problem = problem_of(adoption)
            told = (
                problem is not None and "Permission denied" in problem.what and "viam-server's user" in problem.do
            )
            os._exit(0 if told and not adoption.cards else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def test_where_there_is_no_file_it_may_be_in_another_place(server: Server, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(config(3.0)))
    file = MachineFile(str(server.path), PART, str(other))
    assert [card.values["capture_frequency_hz"] for card in read(FileSystem(), file, None).cards] == [3.0]
    server.write(config())
    assert [card.values["capture_frequency_hz"] for card in read(FileSystem(), file, None).cards] == [5.0]


@pytest.mark.parametrize(("written_ns", "name"), [(10, "ear"), (30, "$NAME")], ids=["before", "after"])
async def test_variables_of_a_local_config_have_their_values_from_viam_server_s_start(
    server: Server, written_ns: int, name: str
) -> None:
    """viam-server puts them in when it reads the file at its start, and not when it reads a change of it."""
    twin = {**config()["components"][0], "name": "$NAME"}
    server.write({"components": [twin]})
    os.utime(server.path, ns=(written_ns, written_ns))
    file = MachineFile(str(server.path), variables={"NAME": "ear"}, started_ns=20)
    (card,) = read(FileSystem(), file, None).cards
    assert card.values["name"] == f"rdk:component:sensor/{name}"


async def test_a_local_config_that_is_no_json_without_its_variables_has_their_values(server: Server) -> None:
    server.path.write_text(json.dumps({"components": config()["components"]}).replace("5.0", "${HZ:-2}"))
    for variables, hz in (({"HZ": "4"}, 4), ({}, 2)):
        (card,) = read(FileSystem(), MachineFile(str(server.path), variables=variables), None).cards
        assert card.values["capture_frequency_hz"] == hz


async def test_a_local_file_that_only_names_the_cloud_means_no_empty_config(server: Server) -> None:
    """viam-server tells the part a moment later, or not in a version to come."""
    server.write(config())
    await adopted(server)
    server.write({"cloud": {"id": PART, "secret": SECRET}})
    server.part_id = ""
    adoption = await started(server)
    assert frequencies(adoption) == [5.0]
    assert "says that the cloud has the config" in what_of(adoption) and SECRET not in what_of(adoption)


async def test_what_another_machine_kept_goes_as_soon_as_the_machine_is_known(server: Server) -> None:
    server.write(config())
    await adopted(server)
    server.path.unlink()
    server.unknown = "viam-server does not tell"
    adoption = await started(server)
    assert frequencies(adoption) == [5.0]
    server.unknown, server.part_id = "", "part-2"
    await adoption.look()
    assert (adoption.cards, adoption.adopted.read_ns) == ((), None)


async def test_a_look_reads_what_is_there_when_it_begins(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another look may have read the file before it was replaced, and one may be left by a caller that is gone."""
    server.write(config())
    adoption = server.adoption()
    has_read, go_on = threading.Event(), threading.Event()
    read_file = machine_file.read

    def slow(*arguments: Any) -> Content:
        content = read_file(*arguments)
        has_read.set()
        go_on.wait(10)
        return content

    monkeypatch.setattr(machine_file, "read", slow)
    gone = asyncio.ensure_future(adoption.look())
    await asyncio.to_thread(has_read.wait, 10)
    gone.cancel()
    server.write(config(9.0))
    after = asyncio.ensure_future(adoption.look())
    await asyncio.sleep(0)
    go_on.set()
    await after
    assert frequencies(adoption) == [9.0]


async def test_a_disk_that_hangs_does_not_hold_up_a_validation(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.write(config())
    await adopted(server)
    server.unknown = "viam-server does not tell"
    go_on = threading.Event()
    read_kept = adopted_file.read

    def hangs(*arguments: Any) -> Any:
        go_on.wait(10)
        return read_kept(*arguments)

    monkeypatch.setattr(adopted_file, "read", hangs)
    monkeypatch.setattr("holdfast.adoption.adoption._KEPT_TIMEOUT_S", 0.01)
    adoption = await started(server)
    assert adoption.cards == ()
    go_on.set()
    await eventually(lambda: frequencies(adoption) == [5.0])


async def test_what_can_not_be_kept_is_a_problem_and_what_is_adopted_is_told_when_it_is_kept(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server.write(config())
    server.kept.parent.write_text("in the place of the folder")
    adoption = await adopted(server)
    assert "is not known then" in what_of(adoption)
    assert "from now on" not in caplog.text
    server.kept.parent.unlink()
    for _ in range(2):
        await adoption.keep(server.capture_dir, ["Readings of eye", "Readings of ear"])
    assert problem_of(adoption) is None
    assert caplog.text.count("are adopted from now on: Readings of eye, Readings of ear") == 1


async def test_the_file_that_was_read_is_the_one_that_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps(config()))

    async def locate() -> MachineFile:
        return MachineFile(str(server.path), PART, str(tmp_path / "other.json"))

    adoption = Adoption(FileSystem(), FakeClock(), locate, server.revision)
    await adoption.look()
    assert adoption.adopted.path == str(tmp_path / "other.json")


async def test_without_anything_kept_an_unreadable_file_means_that_no_card_is_known_yet(server: Server) -> None:
    adoption = await adopted(server)
    assert adoption.cards == ()
    assert problem_of(adoption) is not None and "none is known yet" in what_of(adoption)
    assert not server.kept.exists()


async def test_a_change_is_taken_over_and_a_file_that_is_only_written_again_is_not_parsed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.write(config())
    adoption = await adopted(server)
    parsed: list[str] = []
    loads = json.loads

    def noted(text: str) -> Any:
        parsed.append(text)
        return loads(text)

    monkeypatch.setattr(json, "loads", noted)
    cards = adoption.cards
    server.write(config())
    await adoption.look()
    assert adoption.cards is cards and parsed == []
    server.write(config(7.0, revision="r2"))
    await adoption.look()
    assert frequencies(adoption) == [7.0] and len(parsed) == 1
    assert adoption.adopted.revision == "r2"


async def test_what_another_machine_adopted_is_not_used(server: Server) -> None:
    server.write(config())
    await adopted(server)
    server.path.unlink()
    server.part_id = "part-2"
    adoption = await started(server)
    assert adoption.cards == ()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 1, "machine": 5}', b"\xff", b'{"version": "x"}']
)
async def test_what_is_kept_and_damaged_is_not_used_and_replaced(server: Server, content: bytes) -> None:
    server.kept.parent.mkdir(mode=0o700)
    server.kept.write_bytes(content)
    server.kept.chmod(0o600)
    adoption = server.adoption()
    await adoption.use_kept(server.capture_dir)
    assert adoption.cards == ()
    server.write(config())
    await adoption.look()
    await adoption.keep(server.capture_dir, ["Readings of eye"])
    assert json.loads(server.kept.read_text())["revision"] == "r1"


async def test_what_another_user_may_have_kept_is_not_used(server: Server) -> None:
    server.write(config())
    await adopted(server)
    server.kept.chmod(0o666)
    adoption = server.adoption()
    await adoption.use_kept(server.capture_dir)
    assert adoption.cards == ()


async def test_what_a_newer_version_kept_is_neither_used_nor_overwritten(server: Server) -> None:
    server.kept.parent.mkdir(mode=0o700)
    server.kept.write_text('{"version": 2, "machine": "part-1"}')
    server.kept.chmod(0o600)
    server.write(config())
    adoption = await adopted(server)
    assert frequencies(adoption) == [5.0]
    assert json.loads(server.kept.read_text())["version"] == 2


async def test_a_file_that_is_older_than_what_viam_server_was_given_is_told_until_it_is_not(server: Server) -> None:
    """A change may come between the file and the revision, so one look is not enough."""
    server.write(config())
    adoption = await adopted(server)
    server.running = "r2"
    await adoption.look_again()
    assert problem_of(adoption) is None
    for _ in range(2):
        await adoption.look_again()
        assert problem_of(adoption) is not None and "viam-server was given revision r2" in what_of(adoption)
        assert frequencies(adoption) == [5.0]
    server.write(config(9.0, revision="r2"))
    await adoption.look_again()
    assert problem_of(adoption) is None and frequencies(adoption) == [9.0]


async def test_viam_server_is_asked_for_no_revision_of_a_local_config(server: Server) -> None:
    async def never() -> str:
        raise AssertionError("it was asked")

    server.write({"components": config()["components"]})
    server.part_id = ""
    adoption = Adoption(FileSystem(), FakeClock(), server.locate, never)
    await adoption.look_again()
    assert frequencies(adoption) == [5.0] and problem_of(adoption) is None


async def test_a_viam_server_that_does_not_answer_holds_nothing_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never() -> MachineFile:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("holdfast.adoption.adoption._LOOK_TIMEOUT_S", 0.01)
    monkeypatch.setattr(server, "locate", never)
    adoption = server.adoption()
    await adoption.look()
    assert problem_of(adoption) is not None and "does not answer" in what_of(adoption)
