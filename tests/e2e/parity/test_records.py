"""What is not the same reads differently: else the parity of two data managers would say nothing."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import pytest
from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value
from viam.proto.app.data import Annotations, Classification

from .records import plain, readable
from .rows import Compared

ALL_DIFFERENT: list[Value] = [
    Value(),
    Value(null_value=NullValue.NULL_VALUE),
    Value(struct_value=Struct()),
    Value(struct_value=Struct(fields={"": Value()})),
    Value(list_value=ListValue()),
    Value(list_value=ListValue(values=[Value()])),
    *(Value(string_value=text) for text in ("", "0", "null", "NaN", "unset", "ä", "a\u0308")),
    *(Value(bool_value=each) for each in (False, True)),
    *(Value(number_value=n) for n in (0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 5e-324, 0.1, 0.1 + 2**-56)),
]


def test_values_that_differ_read_differently() -> None:
    for one, other in combinations(ALL_DIFFERENT, 2):
        assert readable(plain(one)) != readable(plain(other))


def test_a_field_that_is_set_to_its_default_is_not_one_that_is_absent() -> None:
    absent, zero = Classification(label="a"), Classification(label="a", confidence=0.0)
    assert readable(plain(Annotations(classifications=[absent]))) != readable(
        plain(Annotations(classifications=[zero]))
    )


def test_bytes_differ_beyond_what_is_shown_of_them() -> None:
    assert readable({"payload": b"x" * 1000}) != readable({"payload": b"x" * 999 + b"y"})


@pytest.mark.parametrize(
    ("compared", "one", "other"),
    [
        (Compared.NOISE, 1.0, 1.0 + 1e-14),
        (Compared.NOISE, 0.0, -1e-14),
        (Compared.SHAPE, 1.0, 2.0),
    ],
)
def test_a_looser_row_overlooks_what_it_says_and_no_more(compared: Compared, one: Any, other: Any) -> None:
    assert readable({"a": one}, compared) == readable({"a": other}, compared)
    assert readable({"a": one}, compared) != readable({"b": other}, compared)
    assert readable({"a": one}, compared) != readable({"a": str(other)}, compared)
    assert readable({"a": one}) != readable({"a": other})
