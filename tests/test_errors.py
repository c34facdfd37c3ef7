"""The tree of errors that `holdfast.errors` draws is the one that the classes form."""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import re
from collections.abc import Iterator

import pytest

import holdfast
from holdfast import errors
from holdfast.errors import DamagedFileError, HoldfastError, NewerStateError, StorageError

_LINE = re.compile(r"^((?: {4})+)(\w+Error)(?: \((\S+)\))?$", re.MULTILINE)


def drawn() -> Iterator[tuple[int, str, str]]:
    """Yields the depth, class and module of each line of the tree, in order."""
    for indent, name, module in _LINE.findall(errors.__doc__ or ""):
        yield len(indent) // 4 - 1, name, f"holdfast.{module or 'errors'}"


def real(error: type[HoldfastError], depth: int = 0) -> Iterator[tuple[int, str, str]]:
    """Yields the depth, name and module of a class and of all that derive from it."""
    yield depth, error.__name__, error.__module__
    for derived in error.__subclasses__():
        if derived.__module__.startswith("holdfast."):
            yield from real(derived, depth + 1)


def paths(tree: Iterator[tuple[int, str, str]]) -> set[tuple[tuple[str, str], ...]]:
    """Returns each class as the path to it from the root."""
    found: set[tuple[tuple[str, str], ...]] = set()
    above: list[tuple[str, str]] = []
    for depth, name, module in tree:
        above = [*above[:depth], (name, module)]
        found.add(tuple(above))
    return found


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert paths(drawn()) == paths(real(HoldfastError))


@pytest.mark.parametrize("error", [DamagedFileError, NewerStateError])
def test_what_is_caught_as_a_disk_that_refuses_is_no_damaged_and_no_newer_file(error: type[HoldfastError]) -> None:
    assert not issubclass(error, StorageError)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EEXIST, errno.EINVAL, 0])
def test_where_our_own_words_say_what_to_do_nothing_else_is_advised(code: int) -> None:
    assert StorageError("open", "/data", OSError(code, "it is a symbolic link; remove it")).remedy == ""


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.EIO, "dmesg"),
        (errno.ENOSPC, "free space"),
        (errno.EACCES, "chown"),
        (errno.ENOENT, "each part of the path"),
        (errno.EEXIST, ""),
        (errno.EBUSY, ""),
    ],
)
def test_what_the_operating_system_refuses_has_the_remedy_that_helps(code: int, remedy: str) -> None:
    found = StorageError("open", "/data", OSError(code, os.strerror(code))).remedy
    assert remedy in found and bool(found) == bool(remedy)
