"""Bounded memory: the newest entries of a dictionary, and the first of a list."""

from __future__ import annotations

from holdfast.base.bounded import MAX_LISTED, MAX_LISTED_BYTES, Listed, Newest, NotTaken


def test_the_oldest_entry_is_forgotten_and_one_that_is_set_again_is_new() -> None:
    known: Newest[str, int] = Newest(2)
    known["a"], known["b"], known["a"], known["c"] = 1, 2, 3, 4
    assert dict(known) == {"a": 3, "c": 4}


def test_a_list_counts_all_and_names_the_first() -> None:
    listed: Listed[int] = Listed()
    for number in range(MAX_LISTED + 50):
        listed.add(number)
    assert listed.count == MAX_LISTED + 50 and listed.first == list(range(MAX_LISTED))


def test_a_list_names_as_many_of_the_first_as_fit() -> None:
    listed: Listed[dict[str, str]] = Listed()
    for number in range(80):
        listed.add({"path": f"{number}", "why": "w" * (1_000 if number else MAX_LISTED_BYTES // 2)})
    listed.add({"path": "short", "why": ""})
    assert listed.count == 81 and 20 < len(listed.first) < 40
    assert [each["path"] for each in listed.first] == [f"{number}" for number in range(len(listed.first))]


def test_of_what_nobody_takes_the_last_is_kept_and_taken_once() -> None:
    not_taken: NotTaken[int] = NotTaken(3)
    for number in range(5):
        not_taken.add(number)
    assert (len(not_taken), not_taken.take(), not_taken.take()) == (3, [2, 3, 4], [])
