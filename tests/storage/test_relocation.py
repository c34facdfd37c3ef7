"""What an earlier version kept in the module's package is moved out; nothing is overwritten or sent twice."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from holdfast.base import checked_line
from holdfast.base.at import Identity
from holdfast.base.filesystem import FileSystem
from holdfast.config import FormerFolder
from holdfast.errors import StorageError
from holdfast.storage import layout
from holdfast.storage.ledger.known_files import Acknowledged
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.lock import FolderLock
from holdfast.storage.relocation import is_left, move_out
from tests.users import ROOT, THEM, folder_of, link_of, needs_root, open_place

COLLECTOR = ("rdk:component:sensor", "a", "Readings")
INSIDE = "rdk_component_sensor/a/Readings"


class Places:
    """A package with a former folder in it, and the folder where that belongs."""

    def __init__(self, folder: Path) -> None:
        self.former = folder / "package" / "data"
        self.now = folder / "server" / "data"
        self.now.parent.mkdir(parents=True)

    def write(self, folder: Path, name: str, text: str = "x") -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def keep(self, *names: str, folder: Path | None = None) -> None:
        """Puts capture files into a folder, and its state."""
        folder = folder or self.former
        self.write(folder, f"{layout.STATE_FOLDER}/lock.prog")
        for name in names:
            self.write(folder, f"{INSIDE}/{name}", name)

    def move(self, files: FileSystem | None = None, *, is_capture_folder: bool = True) -> str:
        found = FormerFolder("capture_dir", str(self.former), str(self.now), is_capture_folder)
        return move_out(files or FileSystem(), found)

    @property
    def moved(self) -> list[str]:
        found = (path for path in self.now.rglob("*") if path.is_file() and layout.STATE_FOLDER not in path.parts)
        return sorted(path.name for path in found)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def ledger_of(folder: Path) -> Ledger:
    ledger = Ledger(FileSystem(), str(folder))
    ledger.attach(lambda: None)
    return ledger


def test_a_folder_with_everything_in_it_is_renamed(places: Places) -> None:
    places.keep("1.capture", "2.prog")
    places.write(places.former, f"failed/{INSIDE}/3.capture")
    number = places.former.stat().st_ino
    assert places.move() == ""
    assert places.moved == ["1.capture", "2.prog", "3.capture"] and places.now.stat().st_ino == number
    assert not places.former.exists()
    assert places.move() == ""


def test_where_no_earlier_version_kept_data_nothing_is_touched(places: Places) -> None:
    assert places.move() == "" and not places.now.exists()
    places.write(places.former, "programs-own.py")
    assert places.move() == "" and (places.former / "programs-own.py").exists() and not places.now.exists()


def test_nothing_that_is_there_already_is_overwritten_and_the_rest_is_moved(places: Places) -> None:
    places.keep("1.capture", "2.capture")
    places.write(places.former, f"{layout.STATE_FOLDER}/control.prog", "former")
    places.keep("3.capture", folder=places.now)
    assert places.move() == ""
    assert places.moved == ["1.capture", "2.capture", "3.capture"] and not places.former.exists()
    assert (places.now / layout.STATE_FOLDER / "control.prog").read_text() == "former"

    places.keep("1.capture", "4.capture")
    (places.now / INSIDE / "1.capture").write_text("there")
    problem = places.move()
    assert "names that are taken there" in problem and "it is sent from there" in problem
    assert (places.now / INSIDE / "1.capture").read_text() == "there"
    assert (places.former / INSIDE / "1.capture").read_text() == "1.capture"
    assert (places.now / INSIDE / "4.capture").exists()


@pytest.mark.parametrize("through_a_link", [False, True])
def test_counts_and_what_the_cloud_has_are_known_at_the_new_place(places: Places, through_a_link: bool) -> None:
    places.keep("1.capture", "2.prog")
    if through_a_link:
        (places.now.parent / "disk").mkdir()
        places.now.symlink_to(places.now.parent / "disk")
    sent, left = (str(places.former / INSIDE / name) for name in ("1.capture", "2.prog"))
    before = ledger_of(places.former)
    for _ in range(5):
        before.count_captured(COLLECTOR)
    before.note_completing(COLLECTOR, left, 5)
    before.count_delivered(COLLECTOR, sent, Acknowledged(3, 77), 3, ours=True)
    before.close()

    assert places.move() == ""
    after = ledger_of(places.now)
    assert after.acknowledged_of(os.path.realpath(places.now / INSIDE / "1.capture"), 77) == 3
    after.count_recovered(COLLECTOR, str(places.now / INSIDE / "2.prog"), 5, 0, ours=True)
    counts = after.readings()[COLLECTOR]
    assert (counts.captured, counts.delivered, counts.adopted) == (5, 3, 0)


def test_what_the_cloud_has_is_known_also_where_a_ledger_is_already(places: Places) -> None:
    places.keep("1.capture")
    places.keep("2.capture", folder=places.now)
    for folder, name in ((places.former, "1.capture"), (places.now, "2.capture")):
        ledger = ledger_of(folder)
        ledger.count_captured(COLLECTOR)
        ledger.count_delivered(
            COLLECTOR, os.path.realpath(folder / INSIDE / name), Acknowledged(1, 7), 1, ours=True
        )
        ledger.close()
    assert places.move() == ""
    after = ledger_of(places.now)
    for name in ("1.capture", "2.capture"):
        assert after.acknowledged_of(str(places.now / INSIDE / name), 7) == 1
    assert after.readings()[COLLECTOR].delivered == 1
    assert not places.former.exists()


class OtherDisk(FileSystem):
    """A disk to which nothing can be renamed."""

    def rename(self, source: str, target: str, identity: Identity | None = None) -> None:
        if os.path.dirname(source) != os.path.dirname(target):
            raise StorageError("rename", source, OSError(errno.EXDEV, os.strerror(errno.EXDEV)))
        super().rename(source, target, identity)


def test_to_another_disk_nothing_is_moved_and_the_journal_still_knows_the_files(places: Places) -> None:
    places.keep("1.capture")
    ledger = ledger_of(places.former)
    path = str(places.former / INSIDE / "1.capture")
    ledger.count_delivered(COLLECTOR, path, Acknowledged(1, 7), 1, ours=True)
    ledger.close()
    problem = places.move(OtherDisk())
    assert problem.startswith("capture_dir: ") and os.strerror(errno.EXDEV) in problem
    assert ledger_of(places.former).acknowledged_of(path, 7) == 1
    (places.former / INSIDE / "1.capture").unlink()
    assert places.move(OtherDisk()) == ""


class Killed(BaseException):
    pass


class Mortal(FileSystem):
    """The disk of a process that dies before its nth change."""

    def __init__(self, changes: int) -> None:
        self.left = changes

    def _change(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def rename(self, source: str, target: str, identity: Identity | None = None) -> None:
        self._change()
        super().rename(source, target, identity)

    def remove(self, path: str, identity: Identity | None = None) -> None:
        self._change()
        super().remove(path, identity)

    def remove_folder(self, path: str) -> None:
        self._change()
        super().remove_folder(path)


@pytest.mark.parametrize("is_used", [False, True])
def test_whatever_moment_the_process_dies_at_the_next_one_goes_on(tmp_path: Path, is_used: bool) -> None:
    died, changes = True, 0
    while died:
        places = Places(tmp_path / str(changes))
        places.keep("1.capture", "2.prog")
        if is_used:
            places.keep("3.capture", folder=places.now)
            ledger_of(places.now).close()
        ledger = ledger_of(places.former)
        for _ in range(4):
            ledger.count_captured(COLLECTOR)
        ledger.note_completing(COLLECTOR, str(places.former / INSIDE / "2.prog"), 4)
        ledger.close()
        died = False
        try:
            places.move(Mortal(changes))
        except Killed:
            died = True
        assert places.move() == ""
        assert [path for path in places.former.rglob("*") if path.is_file()] == []
        assert places.moved == ["1.capture", "2.prog", *(["3.capture"] if is_used else [])]
        after = ledger_of(places.now)
        after.count_recovered(COLLECTOR, str(places.now / INSIDE / "2.prog"), 4, 0, ours=True)
        assert after.readings()[COLLECTOR].captured == (0 if is_used else 4)
        changes += 1
    assert changes > 2


def test_a_folder_that_another_process_uses_stays(places: Places) -> None:
    places.keep("1.capture")
    other = FolderLock(FileSystem(), str(places.former))
    assert other.try_acquire()
    assert f"process {os.getpid()} has the lock of {places.former}" in places.move()
    assert places.moved == []
    other.release()
    assert places.move() == "" and places.moved == ["1.capture"]


def test_a_state_of_a_newer_version_is_not_touched(places: Places) -> None:
    places.keep("1.capture")
    ledger_of(places.former).close()
    journal = places.former / layout.STATE_FOLDER / "ledger.prog"
    journal.write_bytes(checked_line.encode(json.dumps({"version": 99}).encode()))
    assert "is of version 99" in places.move() and places.moved == []


def test_a_link_that_leads_to_the_new_place_already_is_left_alone(places: Places) -> None:
    places.keep("1.capture", folder=places.now)
    places.former.parent.mkdir()
    places.former.symlink_to(places.now)
    assert places.move() == "" and places.former.is_symlink() and places.moved == ["1.capture"]


def test_a_program_that_has_the_name_of_a_local_copy_is_left_alone(places: Places) -> None:
    places.write(places.former, "holdfast/manager.py")
    assert places.move(is_capture_folder=False) == "" and (places.former / "holdfast" / "manager.py").exists()


def test_in_memory_a_folder_that_others_may_have_made_is_left_alone(places: Places) -> None:
    class InMemory(FileSystem):
        def is_in_memory(self, path: str) -> bool:
            return True

    places.keep("1.capture")
    places.former.chmod(0o755)
    assert places.move(InMemory()) == "" and places.moved == []
    places.former.chmod(0o700)
    assert places.move(InMemory()) == "" and places.moved == ["1.capture"]


def test_a_local_copy_moves_with_what_it_keeps_and_nothing_beside_it(places: Places) -> None:
    places.write(places.former, "holdfast/captured/1.capture")
    places.write(places.former, "others")
    assert places.move(is_capture_folder=False) == ""
    assert places.moved == ["1.capture"] and (places.former / "others").exists()


@needs_root
def test_a_former_folder_that_another_user_may_have_planted_is_left_alone() -> None:
    with open_place() as folder:
        folder.chmod(0o1777)
        places = Places(folder_of(ROOT, folder / "ours"))
        places.keep("1.capture", folder=folder_of(ROOT, folder / "private"))
        places.former = link_of(THEM, folder / "former", "private")
        assert places.move() == ""
        found = FormerFolder("capture_dir", str(places.former), str(places.now), True)
        assert not is_left(FileSystem(), found)
        assert (folder / "private" / INSIDE / "1.capture").exists()
