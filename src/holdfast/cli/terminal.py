"""What comes in and what goes out: files, stdin, stdout, stderr."""

from __future__ import annotations

import io
import sys

from ..base.filesystem import FileSystem
from ..errors import HoldfastError

STDIN = "-"


class StreamError(HoldfastError):
    """A stream that can't be used; the message names it, and is empty where nobody wants to know."""


def read_input(file: str) -> bytes:
    """The content of a file or of stdin. Raises StorageError, which names the file, and StreamError."""
    if file != STDIN:
        return FileSystem().read(file)
    if sys.stdin is None:
        raise StreamError("stdin is closed: name a file")
    if sys.stdin.isatty():
        print_message("holdfast: reading a config from this terminal, up to Ctrl-D; a file can be named instead")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise StreamError(f"cannot read stdin: {error.strerror}") from error


def print_answer(text: str, *, is_json: bool = False) -> None:
    """Writes to stdout. JSON is UTF-8 wherever it goes, and what UTF-8 has not stands in it as \\uXXXX.

    Raises StreamError.
    """
    if sys.stdout is None:
        raise StreamError("stdout is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8" if is_json else None, errors="backslashreplace")
    try:
        print(text, end="", flush=True)
    except OSError as error:
        sys.stdout = None  # else Python tries again at its end, and complains
        why = "" if isinstance(error, BrokenPipeError) else f"cannot write to stdout: {error.strerror}"
        raise StreamError(why) from error


def print_message(text: str) -> None:
    """Writes a line to stderr, where somebody reads it."""
    if sys.stderr is not None:
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:
            sys.stderr = None
