"""An answer is never larger than it may be, and says what it leaves out."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from viam.utils import dict_to_struct

from holdfast.base.fitting import MAX_BYTES, fitted, size_bytes


def collector(number: int) -> dict[str, Any]:
    return {"resource": f"sensor-{number}-{'x' * 300}", "hz": 1.5, "last_error": "e" * 200, "dropped": {"torn": 3}}


LARGE: dict[str, dict[str, Any]] = {
    "many entries": {"capture": {"enabled": True, "collectors": [collector(number) for number in range(5_000)]}},
    "long entries": {"sequences": [{"id": "i", "tags": ["t" * 4_000] * 1_000} for _ in range(12)]},
    "one long entry": {"rows": [{"path": "p", "cause": "c" * 3_000_000}]},
    "a long text": {"last_error": "e" * 3_000_000, "files": 3},
    "long texts": {f"text {number}": "é" * 50_000 for number in range(100)},
    "lists in lists": {"a": [["x" * 1_000] * 100 for _ in range(100)], "b": [[[["y"] * 50] * 50] * 50] * 50},
    "many lists": {f"list {number}": ["x" * 100] * 1_000 for number in range(50)},
    "many empty entries": {"jobs": [{}] * 200_000, "texts": [""] * 200_000, "nulls": [None] * 200_000},
}


@pytest.mark.parametrize("answer", LARGE.values(), ids=LARGE)
def test_an_answer_fits_into_a_message_and_into_json(answer: dict[str, Any]) -> None:
    found = fitted(answer)
    assert len(dict_to_struct(found).SerializeToString()) <= MAX_BYTES
    assert len(json.dumps(found, ensure_ascii=False).encode()) <= MAX_BYTES
    assert size_bytes(found) > 15_000, "much of it is there"


def test_a_small_answer_is_left_as_it_is() -> None:
    answer = {"jobs": [collector(1)], "text": "x" * 900_000, "not_shown": {}}
    assert fitted(answer) == answer


def test_what_is_left_out_is_said_and_every_figure_stays() -> None:
    rows = [{"n": number, "tags": ["t" * 100] * 100} for number in range(1_000)]
    answer = {"a": {"rows": rows, "count": 5.0}, "short": [1, 2], "not_shown": {"a.rows": 7, "b": 1}}
    found = fitted(answer, 100_000)
    kept, not_shown = found["a"]["rows"], found["not_shown"]
    assert kept and [row["n"] for row in kept] == list(range(len(kept)))
    assert not_shown["a.rows"] == 7 + 1_000 - len(kept) and not_shown["b"] == 1
    assert found["a"]["count"] == 5.0 and found["short"] == [1, 2]


def test_the_entries_that_lists_in_a_list_lose_are_added_up() -> None:
    answer = {"sequences": [{"tags": ["t" * 1_000] * 1_000} for _ in range(3)]}
    found = fitted(answer, 50_000)
    lost = found["not_shown"]
    kept = [len(each["tags"]) for each in found["sequences"]]
    assert lost == {"sequences[].tags": sum(1_000 - count for count in kept)} and len(kept) == 3


def test_a_text_that_is_cut_ends_with_an_ellipsis() -> None:
    found = fitted({"long": "x" * 5_000, "short": "y" * 50}, 2_000)
    assert found["long"].endswith("x…") and found["short"] == "y" * 50


def test_whatever_an_answer_is_it_fits_or_has_nothing_left_to_leave_out() -> None:
    rng = random.Random(5)

    def anything(levels: int) -> Any:
        kind = rng.randrange(5 if levels else 3)
        if kind == 4:
            return {f"n{number}": anything(levels - 1) for number in range(rng.randrange(4))}
        if kind == 3:
            return [anything(levels - 1) for _ in range(rng.randrange(30))]
        return rng.choice((None, True, 1.5, "x" * rng.randrange(300), "é" * rng.randrange(300)))

    for _ in range(300):
        answer = {f"a{number}": anything(4) for number in range(4)}
        found = fitted(answer, 3_000)
        assert size_bytes(found) <= max(3_000, size_bytes(fitted(answer, 1)))
