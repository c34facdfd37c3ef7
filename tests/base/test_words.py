"""Long values are shown in part, only short names are compared with the known ones, no text steers a terminal."""

from __future__ import annotations

import difflib
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.base.words import (
    all_escaped,
    closest,
    duration,
    escaped,
    json_escaped,
    number_of,
    shortened,
    shown,
    size,
    some,
)

FORGED = "a\n2026-11-29T00:00:00Z ERROR forged"
STEERING = "\n\r\t\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\u061c\udcff\ud800"
ANY_TEXT = st.text(st.characters() | st.sampled_from(STEERING))


def steers(letter: str) -> bool:
    """Whether a terminal or a viewer does something else with a character than show it."""
    directions = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    marks = {"\u200e", "\u200f", "\u061c"}
    return (
        unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(letter) in directions
        or letter in marks
    )


@given(ANY_TEXT)
def test_no_text_steers_a_terminal_or_begins_a_line_and_the_rest_stays(text: str) -> None:
    found = escaped(text)
    assert not any(map(steers, found))
    found.encode()
    assert escaped(found) == found
    assert "".join(each if not steers(each) else escaped(each) for each in text) == found


@given(ANY_TEXT)
def test_escaped_json_means_the_same(text: str) -> None:
    found = json_escaped(json.dumps(text, ensure_ascii=False))
    assert json.loads(found) == text and not any(map(steers, found))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (FORGED, r"a\n2026-11-29T00:00:00Z ERROR forged"),
        ("\x1b[2J\x7f\t", r"\x1b[2J\x7f\t"),
        ("\x9b31m\u2028\u202e", r"\u009b31m\u2028\u202e"),
        ("not-utf8-\udcff\ud800", r"not-utf8-\xff\ud800"),
        (r"C:\new größe 𝄞 \u200d", r"C:\new größe 𝄞 \u200d"),
    ],
)
def test_what_is_escaped_can_be_read(text: str, found: str) -> None:
    assert escaped(text) == found


def test_an_answer_is_escaped_to_its_depth() -> None:
    answer = {"a\n": [{"b": ("c\x1b", 1, None)}], "d": {"e\r": True}}
    assert all_escaped(answer) == {r"a\n": [{"b": [r"c\x1b", 1, None]}], "d": {r"e\r": True}}


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
    assert closest("status" * 15, ["status" * 16]) == "status" * 16
    assert closest("status" * 17, ["status" * 16]) is None
    assert closest("status" * 16, ["status" * 17]) is None


def test_of_many_names_few_are_compared_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing a name with a thousand others takes a second, on the event loop."""
    compared: list[str] = []
    original = difflib.get_close_matches

    def noted(name: str, possibilities: list[str], **more: Any) -> list[str]:
        compared.extend(possibilities)
        return original(name, possibilities, **more)

    monkeypatch.setattr(difflib, "get_close_matches", noted)
    names = [f"{number:03}-{'ab' * 20}" for number in range(1_000)]
    assert closest(f"0123-{'ab' * 20}", names) in names and len(compared) < 10
    assert closest("aa", ["b", "a", *names]) == "a"


def test_a_number_of_things_in_words() -> None:
    assert [number_of(number, "reading") for number in (0, 1, 2)] == ["0 readings", "1 reading", "2 readings"]


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


def test_of_many_names_the_first_are_shown_and_the_others_counted() -> None:
    assert [some("ab"), some("abc"), some("abcde"), some("")] == ["a, b", "a, b, c", "a, b, c and 2 more", ""]
