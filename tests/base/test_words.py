"""Long values are shown in part, and only short names are compared with the known ones."""

from __future__ import annotations

import pytest

from holdfast.base.words import closest, duration, shortened, shown, size


@pytest.mark.parametrize("value", ["a", 5.0, None, [1, "x"], {"b": 1, "a": 2}, "é\n"])
def test_what_is_short_is_shown_as_it_is(value: object) -> None:
    assert shown(value) == (repr(value) if not isinstance(value, dict) else "{'a': 2, 'b': 1}")


@pytest.mark.parametrize(
    "value", ["x" * 10**6, ["x" * 300] * 300, [[[["x" * 90] * 9] * 9] * 9], {"k" * 500: "v" * 500}]
)
def test_what_is_long_is_shown_in_part(value: object) -> None:
    assert 90 < len(shown(value)) <= 200 and "..." in shown(value)


def test_a_text_is_cut_at_its_end_only_where_it_is_too_long() -> None:
    assert shortened("abc", 3) == "abc" and shortened("abcd", 3) == "ab…"


def test_the_closest_name_is_found_and_what_is_like_none_has_none() -> None:
    assert closest("stauts", ("status", "sync")) == "status"
    assert closest("coffee", ("status", "sync")) is None


def test_a_name_that_is_endless_is_compared_with_nothing() -> None:
    """Comparing it would take seconds, on the event loop."""
    assert closest("status" * 30, ["status" * 31]) is not None
    assert closest("status" * 40, ["status" * 41]) is None


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (3_250_000, "3.1 MiB"), (200 << 20, "200 MiB")],
)
def test_a_size_in_words(size_bytes: int, words: str) -> None:
    assert size(size_bytes) == words


def test_a_size_has_no_unit_beyond_the_last() -> None:
    assert size(5000 << 40) == "5000 TiB"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (180, "3 min"), (9000, "2.5 h"), (400_000, "5 days")]
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
