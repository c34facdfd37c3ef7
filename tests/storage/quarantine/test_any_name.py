"""A file of any name goes into quarantine and out of it, also one whose name can't get longer, on file systems that
count the length of a name differently."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.config import CopySettings
from holdfast.storage import layout
from holdfast.storage.ledger.counts import FileCounts
from holdfast.storage.ledger.ledger import Ledger
from holdfast.storage.quarantine.listing import QuarantinedFile, list_page, quarantined_files
from holdfast.storage.quarantine.quarantine import quarantine
from holdfast.storage.quarantine.removal import QuarantineRemoval
from holdfast.storage.space.local_copy import LocalCopy
from tests.fakes import FakeClock
from tests.faults import disks

from ..crashes import leave, run
from ..ledgers import open_ledger
from ..samples import messages, metadata, our_file

DISKS = {"encfs": (disks.encfs, "encfs", "encfs"), "ntfs": (disks.ntfs, "mkntfs", "ntfs-3g")}


@pytest.fixture(params=["local", *DISKS])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Returns a folder on one of the file systems."""
    folder = tmp_path / "disk"
    with ExitStack() as stack:
        if request.param in DISKS:
            mounted, tool, package = DISKS[request.param]
            if why := disks.fuse_problem(tool, package):
                pytest.skip(why)
            stack.enter_context(mounted(folder))
        yield folder


def longest(folder: Path, letter: str, extension: str = ".txt") -> str:
    """Returns the longest name of this letter that the file system of `folder` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    for length in range(260, 0, -1):
        path = folder / (letter * length + extension)
        try:
            path.touch()
        except OSError:
            continue
        path.unlink()
        return path.name
    raise AssertionError("no name fits")


def in_quarantine(root: Path) -> list[QuarantinedFile]:
    return sorted(quarantined_files(FileSystem(), [str(root)], []), key=lambda file: file.path)


def removal(ledger: Ledger) -> QuarantineRemoval:
    return QuarantineRemoval(FileSystem(), lambda file: ledger)


def refuse(root: Path, ledger: Ledger, name: str, content: bytes) -> Path:
    (root / name).write_bytes(content)
    return Path(quarantine(FileSystem(), ledger, str(root), str(root / name), "refused"))


@pytest.mark.parametrize("letter", ["x", "ж", "語", "🙂"])
def test_a_file_with_the_longest_name_is_kept_and_put_back_under_its_own(root: Path, letter: str) -> None:
    whole, ledger = longest(root, letter), open_ledger(root)
    for cut in range(0, 24, 1 if letter == "x" else 4):
        name = whole[cut:]
        failed = refuse(root, ledger, name, b"note")
        assert not (root / name).exists() and failed.suffix == ".txt" and failed.name[:9] == letter * 9
        cause = json.loads(Path(layout.cause_path(str(failed))).read_bytes())
        assert (cause["cause"], cause["file"]) == ("refused", str(root / name))
        (row,) = list_page(FileSystem(), in_quarantine(root), lambda file: True, "", 10).rows
        assert (row["path"], row["file"], row["cause"]) == (str(failed), str(root / name), "refused")
        assert str(root / name) in in_quarantine(root)[0].names()
        ledger = open_ledger(root)  # as after a restart
        (result,) = removal(ledger).put_back(in_quarantine(root))
        assert (result.why, (root / name).read_bytes()) == ("", b"note")
        assert list((root / "failed").iterdir()) == []
        (root / name).unlink()
    assert ledger.files == FileCounts()


def test_long_names_that_begin_alike_do_not_collide(root: Path) -> None:
    base, ledger = longest(root, "ж", ""), open_ledger(root)
    wanted = [base[:-1] + end for end in "abc"]
    for name in wanted:
        refuse(root, ledger, name, name[-1].encode())
    assert len({file.path for file in in_quarantine(root)}) == len(wanted)
    assert {result.why for result in removal(ledger).put_back(in_quarantine(root))} == {""}
    assert {(root / name).read_bytes() for name in wanted} == {b"a", b"b", b"c"}


def test_a_long_name_that_is_taken_when_it_is_put_back_gets_one_that_fits(root: Path) -> None:
    name, ledger = longest(root, "語"), open_ledger(root)
    refuse(root, ledger, name, b"first")
    (root / name).write_bytes(b"second")
    (result,) = removal(ledger).put_back(in_quarantine(root))
    assert result.why == ""
    assert sorted(path.read_bytes() for path in root.glob("*.txt")) == [b"first", b"second"]


@pytest.mark.parametrize("name", ["note.cause.json", "note.new.prog", "note.cause.json.new.prog"])
def test_a_file_that_is_named_like_what_lies_beside_another_is_listed_and_kept(root: Path, name: str) -> None:
    root.mkdir(exist_ok=True)
    ledger = open_ledger(root)
    refuse(root, ledger, name, b"mine")
    refuse(root, ledger, "note", b"note")
    assert {file.place for file in in_quarantine(root)} == {str(root / name), str(root / "note")}
    discarded = [file for file in in_quarantine(root) if file.place == str(root / "note")]
    assert [result.why for result in removal(ledger).discard(discarded)] == [""]
    (kept,) = in_quarantine(root)
    assert Path(kept.path).read_bytes() == b"mine"


def test_files_with_long_names_are_discarded_with_their_causes(root: Path) -> None:
    ledger = open_ledger(root)
    for letter in "xж":
        refuse(root, ledger, longest(root, letter), b"note")
    assert {result.why for result in removal(ledger).discard(in_quarantine(root))} == {""}
    assert list((root / "failed").iterdir()) == []


@pytest.mark.parametrize("letter", ["x", "ж"])
def test_a_file_in_progress_with_the_longest_name_is_completed(root: Path, letter: str) -> None:
    """Its complete name is three letters longer."""
    path = root / longest(root, letter, ".prog")
    ledger = open_ledger(root)
    leave(path, our_file(metadata(), messages(5)))
    run(root, ledger)
    (complete,) = root.glob("*.capture")
    assert not path.exists() and complete.name[:9] == letter * 9


def test_no_file_is_replaced_by_one_in_progress_whose_name_is_no_time(root: Path) -> None:
    ledger = open_ledger(root)
    for _ in range(2):
        leave(root / "mine.prog", our_file(metadata(), messages(5)))
        run(root, ledger)
    assert sorted(path.name for path in root.glob("mine*")) == ["mine.capture", "mine~2.capture"]


@pytest.mark.parametrize("letter", ["x", "ж", "🙂"])
def test_a_delivered_file_with_a_long_name_is_copied_to_a_disk_that_takes_shorter_ones(
    root: Path, tmp_path: Path, letter: str
) -> None:
    root.mkdir(exist_ok=True)
    capture = tmp_path / "capture"
    path = capture / longest(capture, letter)
    copy = LocalCopy(FileSystem(), FakeClock(), CopySettings(str(root), most_bytes=2**20))
    for content in (b"first", b"second"):
        path.write_bytes(content)
        assert copy.keep(str(path), None, len(content), str(capture), [str(capture)])
    kept = [path for path in (root / "holdfast").rglob("*") if path.is_file()]
    assert sorted(path.read_bytes() for path in kept) == [b"first", b"second"]
    assert all(path.name[:9] == letter * 9 and path.suffix == ".txt" for path in kept)


def test_a_path_as_long_as_paths_can_be_goes_into_quarantine(tmp_path: Path) -> None:
    ledger, folder = open_ledger(tmp_path), str(tmp_path)
    while len(folder) < 4095 - 201 - 60:
        folder = os.path.join(folder, "d" * min(200, 4095 - 60 - len(folder) - 1))
    os.makedirs(folder)
    path = os.path.join(folder, "n" * (4095 - len(folder) - 1))
    Path(path).write_bytes(b"note")
    quarantine(FileSystem(), ledger, str(tmp_path), path, "refused")
    (file,) = in_quarantine(tmp_path)
    assert not os.path.exists(path) and file.place == path
    (result,) = removal(ledger).put_back([file])
    assert result.why == "" and Path(path).read_bytes() == b"note"
