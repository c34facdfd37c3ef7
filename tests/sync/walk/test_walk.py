import os
from pathlib import Path

import pytest

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.sync.walk.walk import Walk

from ..conftest import write_old_file


def walk(*roots: Path, min_age_s: float = 0.0, files: FileSystem | None = None) -> Walk:
    clock = SystemClock()
    return Walk(files or FileSystem(), clock, [str(root) for root in roots], min_age_s)


def names(found: Walk) -> list[str]:
    return sorted(os.path.basename(item.path) for item in found)


def test_only_what_is_ready_is_found(tmp_path: Path) -> None:
    for name in (
        "api/sensor/Readings/a.capture",
        "api/sensor/Readings/b.prog",
        "notes/c.txt",
        "sequences/d.seq",
        "sequences/e.txt",
        "sequences/open.progseq",
        "failed/f.capture",
        "deep/failed/g.txt",
        "datasetUpload/h.jpeg",
        ".holdfast/lock.prog",
        ".holdfast/i.txt",
    ):
        write_old_file(tmp_path / name, b"x")
    write_old_file(tmp_path / "empty.txt", b"")
    assert names(walk(tmp_path)) == ["a.capture", "c.txt", "d.seq"]


def test_sequences_come_behind_the_data_of_their_root(tmp_path: Path) -> None:
    write_old_file(tmp_path / "sequences/d.seq", b"x")
    for number in range(5):
        write_old_file(tmp_path / f"api/sensor/Readings/{number}.capture", b"x")
    assert os.path.basename(list(walk(tmp_path))[-1].path) == "d.seq"


def test_an_arbitrary_file_waits_until_it_was_left_alone_and_a_capture_file_does_not(tmp_path: Path) -> None:
    write_old_file(tmp_path / "new.txt", b"x")
    write_old_file(tmp_path / "new.capture", b"x")
    found = walk(tmp_path, min_age_s=3600)
    assert names(found) == ["new.capture"]
    assert found.too_recent.first == [str(tmp_path / "new.txt")]


def test_a_file_under_two_roots_is_found_once(tmp_path: Path) -> None:
    write_old_file(tmp_path / "inner/a.txt", b"x")
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    assert names(walk(tmp_path, tmp_path / "inner", tmp_path, link)) == ["a.txt"]
    assert names(walk(tmp_path / "inner", tmp_path)) == ["a.txt"]


def test_a_root_that_is_a_symbolic_link_is_walked(tmp_path: Path) -> None:
    write_old_file(tmp_path / "real/a.txt", b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert names(walk(tmp_path / "link")) == ["a.txt"]


def test_links_pipes_and_loops_stop_nothing(tmp_path: Path) -> None:
    write_old_file(tmp_path / "a.txt", b"x")
    write_old_file(tmp_path / "target/b.txt", b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    os.mkfifo(tmp_path / "pipe")
    assert names(walk(tmp_path)) == ["a.txt", "b.txt"]


def test_a_link_to_a_file_is_sent_as_that_file(tmp_path: Path) -> None:
    target = write_old_file(tmp_path.parent / f"{tmp_path.name}-target.txt", b"12345")
    (tmp_path / "link.txt").symlink_to(target)
    (item,) = walk(tmp_path)
    assert (item.path, item.size_bytes) == (str(tmp_path / "link.txt"), 5)


def test_odd_names_are_found(tmp_path: Path) -> None:
    for name in (b"a\xff.txt", b"line\nbreak", b"-rf", b"tag=x"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"x")
    assert len(list(walk(tmp_path))) == 4


def test_a_missing_root_is_passed_over_until_it_exists(tmp_path: Path) -> None:
    root = tmp_path / "later"
    assert list(walk(root)) == []
    write_old_file(root / "a.txt", b"x")
    assert names(walk(root)) == ["a.txt"]


def test_an_unreadable_folder_costs_only_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Denied(FileSystem):
        def list_folder(self, path: str, *, with_status: bool = False):  # type: ignore[no-untyped-def]
            if path.endswith("secret"):
                from holdfast.errors import StorageError

                raise StorageError("read folder", path, PermissionError(13, "Permission denied"))
            return super().list_folder(path, with_status=with_status)

    write_old_file(tmp_path / "secret/a.txt", b"x")
    write_old_file(tmp_path / "open/b.txt", b"x")
    assert names(walk(tmp_path, files=Denied())) == ["b.txt"]
    assert "secret: Permission denied" in caplog.text
