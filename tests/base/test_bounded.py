"""Bounded memory: the newest entries of a dictionary, and the first of a list."""

from __future__ import annotations

from holdfast.base.bounded import MAX_LISTED, Listed, Newest


def test_the_oldest_entry_is_forgotten_and_one_that_is_set_again_is_new() -> None:
    known: Newest[str, int] = Newest(2)
    known["a"], known["b"], known["a"], known["c"] = 1, 2, 3, 4
    assert dict(known) == {"a": 3, "c": 4}


def test_a_list_counts_all_and_names_the_first() -> None:
    listed: Listed[int] = Listed()
    for number in range(MAX_LISTED + 50):
        listed.add(number)
    assert listed.count == MAX_LISTED + 50 and listed.first == list(range(MAX_LISTED))
