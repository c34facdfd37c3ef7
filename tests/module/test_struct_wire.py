"""A request is read like protobuf does it, up to bounds that keep it from costing much."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from viam.proto.common import DoCommandRequest
from viam.utils import dict_to_struct

from bench.hostile.arguments import SHAPES, entry, field, nested, text
from holdfast.base.attachment import Attachment
from holdfast.base.protobuf_values import plain
from holdfast.errors import CommandError
from module.data_manager.struct_wire import MAX_LEVELS, MAX_TEXT_BYTES, MAX_VALUES, Reader, encoded_struct

WORDS = ("", "a", "é", "😀", "x" * 200, "\0", "name")


def anything(rng: random.Random, levels: int = 4) -> Any:
    kind = rng.randrange(8 if levels else 6)
    if kind >= 6:
        many = range(rng.randrange(5))
        return [anything(rng, levels - 1) for _ in many] if kind == 6 else an_object(rng, levels - 1)
    return rng.choice((None, True, False, 0.0, -1.5, 1e308, 5e-324, math.inf, rng.random(), *WORDS))


def an_object(rng: random.Random, levels: int = 4) -> dict[str, Any]:
    return {rng.choice(WORDS): anything(rng, levels) for _ in range(rng.randrange(5))}


def read(message: bytes) -> dict[str, Any]:
    return Reader().struct(memoryview(message))


def read_and_written_by_protobuf(message: bytes) -> dict[str, Any]:
    return plain(Struct.FromString(message).fields)


def test_what_is_read_and_written_is_what_protobuf_reads_and_writes() -> None:
    rng = random.Random(18)
    for _ in range(500):
        value = an_object(rng)
        message = dict_to_struct(value).SerializeToString()
        assert read(message) == read_and_written_by_protobuf(message) == value
        assert read_and_written_by_protobuf(encoded_struct(value)) == value


@pytest.mark.parametrize(
    "message",
    [
        entry("a", text("1")) + entry("a", text("2")),
        entry("a", text("1") + b"\x20\x01"),
        entry("a", b"\x20\x01" + text("1") + b"\x78\x05"),
        field(1, b""),
        field(1, field(1, b"a")),
        field(1, field(2, text("1"))),
        field(1, field(2, text("1")) + field(1, b"a")),
        field(7, b"unknown") + b"\x45\0\0\0\0" + entry("a", b"\x08\x00"),
        entry("a", b"\x08\x07"),
        entry("a", b"\x20\xff\x01"),
        entry("a", b"\x1d\0\0\0\0" + b"\x18\x01"),
    ],
)
def test_what_is_there_twice_missing_unknown_or_of_another_type_means_what_it_means_to_protobuf(
    message: bytes,
) -> None:
    assert read(message) == read_and_written_by_protobuf(message)


def test_the_numbers_of_all_the_kinds_that_an_answer_has_are_written() -> None:
    answer = {"int": 3, "float": 0.5, "tuple": (1, True), "none": None, "": {}}
    assert read(encoded_struct(answer)) == {"int": 3.0, "float": 0.5, "tuple": [1.0, True], "none": None, "": {}}


def struct_of(value: Any) -> bytes:
    return encoded_struct({"x": value})


@pytest.mark.parametrize("make", [nested, lambda levels: [nested(levels - 1)] if levels else "core"])
def test_lists_and_objects_may_be_in_each_other_to_a_depth(make: Any) -> None:
    assert read(struct_of(make(MAX_LEVELS))) == {"x": make(MAX_LEVELS)}
    with pytest.raises(CommandError, match=f"more than {MAX_LEVELS} lists and objects in each other"):
        read(struct_of(make(MAX_LEVELS + 1)))


def test_the_values_of_a_request_are_bounded_wherever_they_are() -> None:
    half = [True] * (MAX_VALUES // 2 - 1)
    assert read(encoded_struct({"a": half, "b": half})) == {"a": half, "b": half}
    for value in ({"a": half, "b": [*half, True]}, {"a": {"b": {"c": [*half, *half]}}}):
        with pytest.raises(CommandError, match=f"more than {MAX_VALUES} values"):
            read(encoded_struct(value))


def test_a_long_text_is_an_attachment_and_not_inside_of_an_argument() -> None:
    long = "x" * (MAX_TEXT_BYTES + 1)
    found = read(encoded_struct({"data": long, "short": long[1:]}))
    assert isinstance(found["data"], Attachment) and len(found["data"]) == len(long)
    assert found["short"] == long[1:]
    for value in ({"params": {"x": long}}, {"list": [long]}, {long: 1}):
        with pytest.raises(CommandError, match=f"has {len(long)} bytes, and may have {MAX_TEXT_BYTES}"):
            read(encoded_struct(value))


class CountedReader(Reader):
    """Counts the fields that it looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at = 0

    def fields(self, message: memoryview) -> Any:
        for each in super().fields(message):
            self.looked_at += 1
            yield each


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_a_caller_sends_little_of_it_is_looked_at(shape: str) -> None:
    """Or else it would keep the process busy for seconds."""
    message, reader = SHAPES[shape](random.Random(1), "data"), CountedReader()
    try:
        for number, _, content in reader.fields(memoryview(message)):
            if number == 2 and isinstance(content, memoryview):
                reader.struct(content)
    except CommandError:
        pass
    assert reader.looked_at <= 8 * MAX_VALUES


def test_what_is_cut_off_or_no_message_at_all_is_an_error_of_the_caller() -> None:
    message = DoCommandRequest(name="data", command=dict_to_struct({"a": {"b": ["c" * 200, 1.0, None]}}))
    whole, rng = message.command.SerializeToString(), random.Random(3)
    for end in range(1, len(whole)):
        with pytest.raises(CommandError):
            read(whole[:end])
    for _ in range(2_000):
        try:
            read(rng.randbytes(rng.randrange(60)))
        except CommandError as error:
            assert len(str(error)) < 200
