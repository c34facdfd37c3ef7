"""Names for files whose own names are taken, or too long where the files go.

No file system is asked how long a name may be, since some answer wrongly, and some count other things than bytes.
Blocks where it looks whether a name is taken.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Callable
from typing import TypeVar

from ..errors import StorageError

Result = TypeVar("Result")

_MAX_EXTENSION_CHARS = 16
"""What is longer after the last point is no extension."""
_NAME_CHARS = (math.inf, 220, 110, 55)
_FEWEST_NAME_CHARS = 27
"""With what lies beside a file, any file system takes so many, of four bytes each."""
SHORT_NAME_CHARS = 50
"""A name of so many characters may become a little longer on any file system."""
_NUMBERED = re.compile(r".+~\d+(\.[^.]*)?", re.DOTALL)


def free_name(path: str, is_taken: Callable[[str], bool], most_chars: float = math.inf) -> str:
    """Returns `path`, if its name has at most `most_chars` characters and is not taken.

    Else returns the first of `stem~2.ext`, `stem~3.ext`, … that is not taken, with as much of the stem as fits,
    but a character at least. Where the name of `path` was accepted, none that has no more characters is too long.
    """
    folder, name = os.path.split(path)
    if len(name) <= most_chars and not is_taken(path):
        return path
    stem, extension = _split(name)
    for number in itertools.count(2):
        end = f"~{number}{extension}"
        free = os.path.join(folder, stem[: int(max(1, min(len(stem), most_chars - len(end))))] + end)
        if not is_taken(free):
            break
    return free


def may_come_from(name: str, former: str) -> bool:
    """Whether `free_name` may have made `name` of a file that had the name `former`."""
    stem, extension = _split(former)
    begin, _, number = name.removesuffix(extension).rpartition("~")
    is_numbered = number.isascii() and number.isdigit()
    return is_numbered and name.endswith(extension) and bool(begin) and stem.startswith(begin)


def _split(name: str) -> tuple[str, str]:
    stem, extension = os.path.splitext(name)
    return (stem, extension) if len(extension) <= _MAX_EXTENSION_CHARS else (name, "")


def named_to_fit(attempt: Callable[[float], Result]) -> Result:
    """Calls `attempt` with the most characters that a name may have: ever fewer, while the name is too long for the
    file system. Returns its result. Raises StorageError."""
    for most_chars in _NAME_CHARS:
        try:
            return attempt(most_chars)
        except StorageError as error:
            if error.reason != "name_too_long":
                raise
    return attempt(_FEWEST_NAME_CHARS)


def is_numbered(name: str) -> bool:
    """Whether `free_name` may have made `name` from another one."""
    return _NUMBERED.fullmatch(name) is not None
