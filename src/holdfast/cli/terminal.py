"""Reads files and stdin, and writes to stdout and stderr, any of which may be closed or broken."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable
from typing import Any

from ..base.at import Translated
from ..base.words import escaped, json_escaped
from ..errors import FileError

STDIN = "-"


class StreamError(FileError):
    """A stream can't be used. The message names it; it is empty when the reader of stdout has gone away."""


def read_input(file: str) -> bytes:
    """Returns the content of a file, or of stdin for "-".

    Raises StorageError, which names the file, and StreamError. Blocks until stdin ends.
    """
    if file != STDIN:
        with Translated("read", file), open(file, "rb") as content:  # a pipe is welcome, as from <(...) in a shell
            return content.read()
    if sys.stdin is None:
        raise StreamError("stdin is closed: name a file")
    if sys.stdin.isatty():
        print_message("holdfast: reading a config from this terminal until Ctrl-D; you can also name a file")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise StreamError(f"cannot read stdin: {error.strerror}") from error


def print_lines(lines: Iterable[str]) -> None:
    """Writes lines to stdout, each escaped. Raises StreamError."""
    _write("".join(f"{escaped(line)}\n" for line in lines))


def print_json(value: Any) -> None:
    """Writes JSON to stdout, always in UTF-8. What UTF-8 can't express, and what would steer a terminal, is written
    as \\uXXXX, which means the same in JSON. Raises StreamError."""
    lines = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
    _write("".join(f"{json_escaped(line)}\n" for line in lines), encoding="utf-8")


def _write(text: str, encoding: str | None = None) -> None:
    if sys.stdout is None:
        raise StreamError("stdout is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
    try:
        print(text, end="", flush=True)
    except OSError as error:
        sys.stdout = None  # or Python would write again at exit, and complain
        why = "" if isinstance(error, BrokenPipeError) else f"cannot write to stdout: {error.strerror}"
        raise StreamError(why) from error


def print_message(text: str) -> None:
    """Writes a line to stderr, escaped, if that can be used."""
    if sys.stderr is not None:
        try:
            print(escaped(text), file=sys.stderr, flush=True)
        except OSError:
            sys.stderr = None
