"""What a hostile caller sends: commands with every wrong argument, and requests that are costly to read.

`commands` yields commands as plain values, `requests` serialized requests of `DoCommand` without end. A request is
made as bytes where Python would take seconds to build it.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from viam.proto.common import DoCommandRequest
from viam.utils import dict_to_struct

from holdfast.commands import COMMANDS
from holdfast.storage.capture_files.frames import varint

PAIR = {"resource": "a", "method": "Readings"}
USUAL: dict[str, dict[str, Any]] = {
    "pause": {"what": "a"},
    "resume": {"what": "a"},
    "set_frequency": {**PAIR, "hz": 1.0},
    "capture_now": {**PAIR, "sync": False},
    "start_sequence": {"resources": [PAIR]},
    "stop_sequence": {"id": "x"},
    "failed": {"action": "list"},
    "upload": {"data": "aGk=", "mime_type": "image/png"},
}
"""The required arguments of each command, for a machine that has a sensor `a`."""

LONG = "x" * 1_000_000
ANYTHING: tuple[Any, ...] = (
    None, True, False, 0.0, -0.0, -1.0, 1e308, -1e308, 5e-324, 1e-6, 5000.5, 2.0**63, float("nan"), float("inf"),
    float("-inf"), "", "x", "a", "\0", "a\0b", "/a\0b", "/", "//", "/..", "../..", "/proc/self/mem", "/dev/zero",
    "a/b:c", "rdk:component:sensor/a", "a\n2026 ERROR forged \x1b[2J\u202e", "\ufffe", "😀" * 2000, "NaN", "1e308",
    LONG, "/" + LONG, "/a" * 500_000, "A" * 1_000_000, [], [None], [True], ["x"], ["\0"], [LONG], ["x"] * 5_000,
    ["y" * 4_000] * 1_000, [f"{number}" for number in range(5_000)], [[[[["x"] * 9] * 9] * 9] * 9], [PAIR] * 2_000,
    [{}], [[]], {}, {"x": LONG}, {"x": {"y": {"z": [{}]}}}, {"a\0b": 1.0}, {LONG: LONG}, {"": None},
    [{"resource": LONG, "method": LONG}], [{"resource": "a", "method": "Readings", "more": 1.0}],
)  # fmt: skip
"""Values for any argument: wrong types, ends of ranges, names that steer something, and what is long or nested."""


def nested(levels: int) -> Any:
    """Returns lists and objects in each other."""
    value: Any = "core"
    for level in range(levels):
        value = [value] if level % 2 else {"x": value}
    return value


def commands(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Yields commands without end: known ones with wrong arguments, and now and then one that does not exist."""
    while True:
        name = rng.choice(list(COMMANDS))
        command: dict[str, Any] = {"command": name, **USUAL.get(name, {})}
        known = [argument.name for argument in COMMANDS[name].arguments]
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            argument = rng.choice((*known, *known, "command", "no such argument", LONG))
            command[argument] = rng.choice((*ANYTHING, nested(rng.randrange(40))))
        yield command


def requests(rng: random.Random, name: str = "data") -> Iterator[bytes]:
    """Yields serialized requests to the data manager `name` without end: `commands`, and often one of `SHAPES`."""
    for command in commands(rng):
        if rng.random() < 0.25:
            yield rng.choice(tuple(SHAPES.values()))(rng, name)
        else:
            yield DoCommandRequest(name=name, command=dict_to_struct(command)).SerializeToString()


def field(number: int, content: bytes) -> bytes:
    """Returns a length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def entry(name: str, value: bytes) -> bytes:
    """Returns a field of a `Struct`; `value` is a serialized `Value`."""
    return field(1, field(1, name.encode()) + field(2, value))


def text(content: str | bytes) -> bytes:
    """Returns a serialized `Value` with a text, which may be none."""
    return field(3, content.encode() if isinstance(content, str) else content)


def request(name: str, *entries: bytes) -> bytes:
    """Returns a serialized `DoCommandRequest` with the entries of its command."""
    return field(1, name.encode()) + field(2, b"".join(entries))


def a_million_parameters(rng: random.Random, name: str) -> bytes:
    return request(name, *_capture_now(), entry("params", field(5, _million_entries())))


@cache
def _million_entries() -> bytes:
    number = b"\x11" + bytes(8)
    return b"".join(entry(f"{index:x}", number) for index in range(1_000_000))


def empty_values(rng: random.Random, name: str) -> bytes:
    """A list of eight million values that hold nothing, in two bytes each."""
    return request(name, *_capture_now(), entry("params", field(6, b"\x0a\x00" * 8_000_000)))


def unknown_fields(rng: random.Random, name: str) -> bytes:
    """Eight million fields that no version of the message has."""
    return request(name, entry("command", text("status")) + b"\x78\x01" * 8_000_000)


def deep_objects(rng: random.Random, name: str) -> bytes:
    return _deep(name, 5_000, of_lists=False)


def deep_lists(rng: random.Random, name: str) -> bytes:
    return _deep(name, 90, of_lists=True)


def one_large_text(rng: random.Random, name: str) -> bytes:
    return request(name, entry("command", text("upload")), entry("data", text("A" * 30_000_000)))


def many_large_texts(rng: random.Random, name: str) -> bytes:
    """Thirty texts of a megabyte, each under a name of its own."""
    return request(name, entry("command", text("pause")), *(entry(f"{n}", text(LONG)) for n in range(30)))


def a_large_name(rng: random.Random, name: str) -> bytes:
    return request("n" * 1_000_000, entry("command", text("status")))


def no_text(rng: random.Random, name: str) -> bytes:
    """Texts that are not UTF-8: a half of a surrogate pair, and a lone continuation byte."""
    return request(name, entry("command", text(b"\xed\xa0\x80")), entry("x", text(b"\x80")))


def cut_off(rng: random.Random, name: str) -> bytes:
    whole = request(name, entry("command", text("status")), entry("x", text("y" * 100)))
    return whole[: rng.randrange(1, len(whole))]


def noise(rng: random.Random, name: str) -> bytes:
    return rng.randbytes(rng.randrange(1, 2_000))


SHAPES: dict[str, Callable[[random.Random, str], bytes]] = {
    shape.__name__: shape
    for shape in (
        a_million_parameters, empty_values, unknown_fields, deep_objects, deep_lists, one_large_text,
        many_large_texts, a_large_name, no_text, cut_off, noise,
    )
}  # fmt: skip
"""Requests that are costly to read, or can't be read at all, by their names."""


def upload_of(data: bytes, name: str = "data") -> bytes:
    """Returns the request of a command that uploads `data`."""
    return request(
        name,
        entry("command", text("upload")),
        entry("mime_type", text("image/jpeg")),
        entry("data", text(base64.b64encode(data))),
    )


def _capture_now() -> tuple[bytes, ...]:
    given = {"command": "capture_now", **PAIR}
    return tuple(entry(each, text(value)) for each, value in given.items())


def _deep(name: str, levels: int, *, of_lists: bool) -> bytes:
    value = text("core")
    for _ in range(levels):
        value = field(6, field(1, value)) if of_lists else field(5, entry("x", value))
    return request(name, *_capture_now(), entry("params", value if not of_lists else field(5, entry("x", value))))
