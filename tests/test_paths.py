"""Everything that touches a path goes by `FileSystem`, and that hands no path to the operating system whole: so
another user of the computer can't choose, by a link, what it leads to.

The rules stand in holdfast/base/openat.py; here they are checked in the source itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SEAM = ("src/holdfast/base/at.py", "src/holdfast/base/filesystem.py", "src/holdfast/base/openat.py")
SOURCES = sorted(
    str(path.relative_to(ROOT)) for folder in ("src", "module") for path in (ROOT / folder).rglob("*.py")
)

_OF_OS = """
    access chdir chmod chown chroot execl execle execlp execlpe execv execve execvp execvpe fwalk getxattr lchmod
    lchown link listdir listxattr lstat makedirs mkdir mkfifo mknod open pathconf posix_spawn posix_spawnp readlink
    remove removedirs removexattr rename renames replace rmdir scandir setxattr spawnv spawnve stat statvfs symlink
    truncate unlink utime walk
"""
_OF_OS_PATH = """
    exists getatime getctime getmtime getsize isdir isfile isjunction islink ismount lexists realpath samefile
"""
TOUCHES = {
    "open",
    *(f"os.{name}" for name in _OF_OS.split()),
    *(f"os.path.{name}" for name in _OF_OS_PATH.split()),
}
"""What takes a path, or a folder's descriptor and a name, and asks the operating system about it."""
NEVER = {"fileinput", "glob", "linecache", "pathlib", "shutil", "tempfile"}
"""Modules that take whole paths."""

ALLOWED = {
    "src/holdfast/base/locks.py": {
        "open": "what the kernel says in /proc",
        "os.listdir": "the same",
        "os.readlink": "the same",
        "os.open": "our own files in /run and /dev/shm, which are checked when they are open",
    },
    "src/holdfast/cli/terminal.py": {"open": "a person names the file, with the rights of that person"},
    "src/holdfast/config/protected.py": {"os.path.realpath": "decides what is not touched"},
    "src/holdfast/sync/cloud/kernel.py": {"os.listdir": "what the kernel says in /proc"},
    "src/holdfast/sync/way/roots.py": dict.fromkeys(
        ("open", "os.path.isfile", "os.readlink", "os.scandir"),
        "the certificates of the system's authorities, which root keeps",
    ),
    "module/viam_server.py": {
        "open": "what the kernel says in /proc",
        "os.readlink": "the same",
        "os.path.isdir": "the same",
    },
    "module/host.py": {
        "os.listdir": "viam-server's packages, which are programs that it runs",
        "os.path.isdir": "the same",
        "os.path.realpath": "the same",
    },
}
"""By file: what touches a path there without the seam, and why it may."""

WHOLE = {
    "os.open('/', FOLDER | os.O_CLOEXEC)": "where each way begins",
    "os.path.realpath(os.path.join(place, target))": "a guess, and whose it is what is opened there is looked at",
    "os.access(path, os.R_OK)": "only says what will not work",
    "os.access(path, os.W_OK)": "the same",
}
"""The calls in the seam that take a path and no open folder."""
_DESCRIPTORS = (
    "descriptor",
    "copy.fileno()",
    "f'/proc/self/fd/",
    "'/proc/self/",
    "at.open",
    "here.open",
    "new.create",
)
"""How the first argument begins in the calls in the seam that take an open file."""


def touched(source: str) -> Iterator[str]:
    """What in a source touches paths, whether it is called or handed on."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Attribute, ast.Name)) and ast.unparse(node) in TOUCHES:
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "os.path", "posix", "io", *NEVER):
            yield f"from {node.module}"
        elif isinstance(node, ast.Import):
            yield from (
                f"import {each.name}"
                for each in node.names
                if each.name in {"posix", *NEVER} or each.asname == "os"
            )


def without_a_folder(source: str) -> Iterator[str]:
    """The calls that hand over a path without an open folder in which it is."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in TOUCHES:
            continue
        has_folder = any((each.arg or "").endswith("dir_fd") for each in node.keywords)
        if not has_folder and not ast.unparse(node.args[0]).startswith(_DESCRIPTORS):
            yield ast.unparse(node)


@pytest.mark.parametrize("path", [path for path in SOURCES if path not in SEAM])
def test_a_path_is_touched_by_the_seam_alone(path: str) -> None:
    """What is new here either goes by `FileSystem`, or is entered above with its reason."""
    assert set(touched((ROOT / path).read_text())) == set(ALLOWED.get(path, ()))


@pytest.mark.parametrize("path", SEAM)
def test_the_seam_hands_no_path_over_whole(path: str) -> None:
    assert set(without_a_folder((ROOT / path).read_text())) <= set(WHOLE)


def test_each_exception_is_of_a_file_that_is_there() -> None:
    assert {*ALLOWED, *SEAM} <= set(SOURCES)


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "os.open(path, 0)",
        "list(map(os.path.realpath, paths))",
        "real = os.path.realpath",
        "from os import stat",
        "from os.path import isdir",
        "from pathlib import Path",
        "import shutil",
        "import shutil as copying",
        "await asyncio.to_thread(os.unlink, path)",
    ],
)
def test_whatever_touches_a_path_is_seen(source: str) -> None:
    assert len(list(touched(source))) == 1


@pytest.mark.parametrize(
    "source", ["os.unlink(path)", "os.open(path, 0)", "open(path, 'rb')", "os.rename(one, other)"]
)
def test_whatever_hands_a_path_over_whole_is_seen(source: str) -> None:
    assert list(without_a_folder(source)) == [source]


@pytest.mark.parametrize("source", ["os.unlink(name, dir_fd=folder)", "os.statvfs(descriptor)"])
def test_what_takes_an_open_folder_or_file_is_fine(source: str) -> None:
    assert list(without_a_folder(source)) == []
