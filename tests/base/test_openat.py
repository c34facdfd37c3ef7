"""The rule of links, with real users: the tests run as root and act as another user where they need one."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.base import openat
from holdfast.base.filesystem import FileSystem
from holdfast.errors import StorageError
from tests.users import OTHERS, ROOT, THEM, US, acting_as, file_of, folder_of, link_of, needs_root, open_place


@pytest.fixture
def place() -> Iterator[Path]:
    with open_place() as folder:
        yield folder


@pytest.fixture(params=["openat2", "step by step"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernel's own call, and as on kernels that do not have it."""
    if request.param == "step by step":
        monkeypatch.setattr(openat, "_OPENAT2", -1)  # ENOSYS


def content_of(path: Path) -> bytes:
    files = FileSystem()
    descriptor = files.open(str(path))
    try:
        return files.read_at(descriptor, str(path), 0, 1_000)
    finally:
        files.close(descriptor, str(path))


def is_read(path: Path) -> bool:
    """Whether the file is opened; an error must say that a link is not followed."""
    try:
        assert content_of(path)
    except StorageError as error:
        assert "is not followed" in str(error), error
        return False
    return True


@needs_root
@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    "we, folder, mode, link, target, followed",
    [
        # in a folder that nobody else may write, our own links are followed
        (ROOT, ROOT, 0o755, ROOT, ROOT, True),
        (ROOT, ROOT, 0o755, ROOT, THEM, True),
        (ROOT, ROOT, 0o775, ROOT, ROOT, True),  # root's group
        (US, US, 0o775, US, US, True),  # a user's own group, as Debian and Ubuntu make it
        (US, ROOT, 0o755, ROOT, US, True),
        (US, US, 0o755, ROOT, US, True),
        # where others may write, no link to what is ours or root's
        (ROOT, THEM, 0o755, THEM, ROOT, False),
        (ROOT, THEM, 0o755, ROOT, ROOT, False),
        (ROOT, ROOT, 0o777, THEM, ROOT, False),
        (ROOT, ROOT, 0o1777, THEM, ROOT, False),
        (ROOT, ROOT, 0o777, ROOT, ROOT, False),
        (ROOT, THEM, 0o755, THEM, OTHERS, False),
        (US, THEM, 0o755, THEM, US, False),
        (US, US, 0o777, THEM, US, False),
        (US, US, 0o777, US, US, False),
        # a user's link to what is that user's own
        (ROOT, THEM, 0o755, THEM, THEM, True),
        (ROOT, ROOT, 0o1777, THEM, THEM, True),
        # unless a third user may have moved the link there
        (ROOT, OTHERS, 0o755, THEM, THEM, False),
        (ROOT, ROOT, 0o777, THEM, THEM, False),
        # a link of another user in our folder, where only we can have put it, is still theirs
        (ROOT, ROOT, 0o755, THEM, ROOT, False),
        (ROOT, ROOT, 0o755, THEM, THEM, True),
    ],
)
@pytest.mark.parametrize("kind", ["a file", "a folder", "absolute", "through another link"])
def test_a_link_is_followed_where_no_other_user_chooses_what_it_leads_to(
    place: Path, we: int, folder: int, mode: int, link: int, target: int, followed: bool, kind: str
) -> None:
    elsewhere = folder_of(target, place / "elsewhere", 0o755)
    file_of(target, elsewhere / "file", mode=0o644)
    here = folder_of(folder, place / "here", mode)
    if kind == "a folder":
        link_of(link, here / "link", "../elsewhere")
        path = here / "link/file"
    else:
        path = here / "link"
        leads_to = elsewhere / "file" if kind == "absolute" else Path("../elsewhere/file")
        if kind == "through another link":
            link_of(link, here / "second", leads_to)
            leads_to = Path("second")
        link_of(link, path, leads_to)
    with acting_as(we):
        assert is_read(path) is followed
        assert openat_agrees(path, followed)


def openat_agrees(path: Path, followed: bool) -> bool:
    """Whether the place and the status of a path are known in the same cases in which it is read."""
    files = FileSystem()
    actions: list[Callable[[str], object]] = [files.stat, files.real_path, files.open]
    for action in actions:
        try:
            result = action(str(path))
        except StorageError:
            if followed:
                return False
        else:
            if not followed:
                return False
            if action == files.open:
                os.close(int(str(result)))
            elif action == files.real_path:
                assert result == os.path.realpath(path)
    return True


@needs_root
def test_a_group_that_an_access_list_may_stand_for_is_not_ours_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = folder_of(ROOT, place / "here", 0o775)
    link_of(ROOT, here / "link", file_of(ROOT, place / "file"))
    assert is_read(here / "link")
    monkeypatch.setattr(os, "getxattr", lambda path, name: b"")  # not every file system here has them
    assert not is_read(here / "link")


@needs_root
def test_what_another_users_file_system_says_of_owners_is_not_believed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link_of(ROOT, place / "link", file_of(ROOT, place / "file"))
    assert is_read(place / "link")
    monkeypatch.setattr(openat, "_is_mounted_by_another", lambda device: True)
    assert not is_read(place / "link")


@needs_root
@pytest.mark.parametrize(
    "folder, mode, owner, is_refused",
    [
        (THEM, 0o755, ROOT, True),
        (ROOT, 0o777, ROOT, True),
        (ROOT, 0o1777, OTHERS, True),
        (ROOT, 0o755, ROOT, False),
        (THEM, 0o755, THEM, False),
    ],
)
def test_a_file_with_a_second_name_is_not_read_where_another_user_may_have_given_it_that(
    place: Path, folder: int, mode: int, owner: int, is_refused: bool
) -> None:
    here = folder_of(folder, place / "here", mode)
    private = file_of(owner, place / "private")
    os.link(private, here / "second")
    link_of(ROOT, place / "link", here / "second")
    for path in (here / "second", place / "link"):
        for action in (FileSystem().open, FileSystem().stat):
            if is_refused:
                with pytest.raises(StorageError, match="a second name"):
                    action(str(path))
            else:
                action(str(path))


@pytest.mark.usefixtures("either_way")
def test_links_that_lead_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(StorageError, match=os.strerror(errno.ELOOP)):
        FileSystem().stat(str(tmp_path / "one/file"))


@pytest.mark.usefixtures("either_way")
def test_each_link_on_the_way_is_followed_as_the_system_does_it(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_text("found")
    (tmp_path / "up").symlink_to("a/b/../../a")
    (tmp_path / "a/deep").symlink_to(tmp_path / "up/b")
    path = tmp_path / "up/deep/../b/file"
    assert content_of(path) == b"found"
    assert FileSystem().real_path(str(path)) == str(tmp_path / "a/b/file")
    assert FileSystem().real_path(str(tmp_path / "up/gone/b")) == str(tmp_path / "a/gone/b")
    assert [entry.path for entry in FileSystem().list_folder(str(tmp_path / "up/b"))] == [
        str(tmp_path / "up/b/file")
    ]


@pytest.mark.parametrize("what", ["a pipe", "a device", "a folder", "a socket"])
@pytest.mark.parametrize("through_a_link", [False, True])
def test_only_files_are_opened(tmp_path: Path, what: str, through_a_link: bool) -> None:
    path = tmp_path / "it"
    if what == "a device" and os.geteuid() != 0:
        pytest.skip("only root can make a device")
    make: dict[str, Callable[[], object]] = {
        "a pipe": lambda: os.mkfifo(path),
        "a device": lambda: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),
        "a folder": path.mkdir,
        "a socket": lambda: os.mknod(path, stat.S_IFSOCK | 0o600),
    }
    make[what]()
    if through_a_link:
        (tmp_path / "link").symlink_to("it")
        path = tmp_path / "link"
    files = FileSystem()
    actions: list[Callable[[str], object]] = [files.open, files.read_own, files.open_to_append]
    actions += [files.is_being_written, files.is_open_for_writing, lambda path: files.truncate(path, 0)]
    for action in actions:
        with pytest.raises(StorageError, match=r"not a regular file|symbolic link"):
            action(str(path))
