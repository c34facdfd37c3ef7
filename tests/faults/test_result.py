"""A run that tested nothing is not good, and one that is not good says how to repeat it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .account import Verdict
from .result import MOST_IDLE, Result


def a_result(**changes: Any) -> Result:
    """Returns the result of a good run, with `changes`."""
    good: dict[str, Any] = {
        "faults": Counter({"link cut": 3}),
        "planned": 3,
        "verdicts": {"counting": Verdict(served=9, arrived=9)},
    }
    return Result(7, 0.5, Path("kept"), **good | changes)


def test_a_run_of_which_all_arrived_is_good() -> None:
    assert a_result().good
    assert a_result(idle=Counter({"link cut": MOST_IDLE}), planned=3 + MOST_IDLE).good


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"faults": Counter()}, "no fault happened"),
        ({"planned": 9}, "3 of 9 planned faults were tried"),
        ({"idle": Counter({"restart": MOST_IDLE}), "planned": 3 + MOST_IDLE}, "restart: found nothing to do"),
        ({"verdicts": {"counting": Verdict()}}, "nothing of counting arrived"),
        ({"verdicts": {"counting": Verdict(arrived=1, lost_beyond=1, examples=["lost: 5"])}}, "lost: 5"),
        ({"in_mongo": {"counting": Verdict(arrived=1, twice_beyond=1, examples=["2 times: 5"])}}, "in MongoDB: 2"),
        ({"wrong": ["left: a"]}, "left: a"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_with_the_seed(changes: dict[str, Any], wrong: str) -> None:
    result = a_result(**changes)
    assert not result.good
    assert f"WRONG: {wrong}" in str(result)
    assert "the same plan: make torture MINUTES=0.5 SEED=7" in str(result)
