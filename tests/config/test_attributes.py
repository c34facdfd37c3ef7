"""Typed values are taken out of attributes; errors have full names, and names that were not read are reported."""

from __future__ import annotations

import math

import pytest

from holdfast.config.attributes import Attributes
from holdfast.errors import ConfigError

from .samples import HOST


def test_an_error_and_a_problem_in_a_nested_object_have_its_whole_name() -> None:
    attributes = Attributes({"a": {"b": {"c": 1.0, "d": 9.0}}}, HOST)
    inner = attributes.nested("a").nested("b")
    with pytest.raises(ConfigError, match=r"^a\.b\.c: must be a string, not 1\.0$") as caught:
        inner.text("c")
    assert caught.value.attribute == "a.b.c"
    assert inner.whole("d", 1, most=5) == 5
    assert attributes.problems == ["a.b.d: 9 is more than the maximum of 5, which is used instead"]


@pytest.mark.parametrize(
    ("value", "nearest", "used", "said"),
    [
        (3.0, True, 5.0, "a: 3 is less than the minimum of 5, which is used instead"),
        (11.0, True, 10.0, "a: 11 is more than the maximum of 10, which is used instead"),
        (3.0, False, 7.0, "a: 3 is less than the minimum of 5, so the default of 7 is used"),
        (11.0, False, 7.0, "a: 11 is more than the maximum of 10, so the default of 7 is used"),
    ],
)
def test_a_number_out_of_range_is_another_one_and_a_problem(
    value: float, nearest: bool, used: float, said: str
) -> None:
    attributes = Attributes({"a": value}, HOST)
    assert attributes.number("a", 7.0, least=5, most=10, nearest=nearest) == used
    assert attributes.problems == [said]


@pytest.mark.parametrize("value", [10**400, -(10**400), math.inf, math.nan])
def test_a_number_that_no_float_can_hold_is_an_error(value: float) -> None:
    for read in (Attributes.number, Attributes.whole):
        with pytest.raises(ConfigError, match=r"^a: must be a number, not "):
            read(Attributes({"a": value}, HOST), "a", 7)


def test_without_a_default_a_number_out_of_range_has_no_effect() -> None:
    attributes = Attributes({"a": 3.0}, HOST)
    assert attributes.whole("a", 0, least=5, nearest=False) == 0
    assert attributes.problems == ["a: 3 is less than the minimum of 5, so it has no effect"]


@pytest.mark.parametrize("bound", [0.0, 5.0, 7.5, 10.0])
def test_a_number_in_its_range_or_unset_is_no_problem(bound: float) -> None:
    attributes = Attributes({"a": bound}, HOST)
    assert attributes.number("a", 7.0, least=5, most=10) == (bound or 7.0)
    assert attributes.problems == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (90.0, "a: 90 is not a share: write 0.9 for 90 %. The default of 0.5 is used"),
        (1000.0, "a: 1000 is not a share: 1 is all of it. The default of 0.5 is used"),
    ],
)
def test_a_percentage_is_no_share(value: float, said: str) -> None:
    attributes = Attributes({"a": value}, HOST)
    assert attributes.share("a", 0.5) == 0.5
    assert attributes.problems == [said]
    assert (Attributes({"a": 1.0}, HOST).share("a", 0.5), Attributes({}, HOST).share("a", 0.5)) == (1.0, 0.5)


def test_an_empty_tag_is_left_out_and_named() -> None:
    attributes = Attributes({"tags": ["a", " ", "b", ""]}, HOST)
    assert attributes.tags("tags") == ("a", "b")
    assert [problem.partition(":")[0] for problem in attributes.problems] == ["tags[1]", "tags[3]"]


def test_what_was_neither_asked_for_nor_accepted_is_reported() -> None:
    attributes = Attributes({"speed": 1.0, "sped": 2.0, "colour": "red", "zzz": None}, HOST)
    attributes.number("speed", 0.0)
    attributes.accept(["colour"])
    attributes.report_unknown()
    assert attributes.problems == [
        "sped: there is no such attribute, it has no effect; did you mean 'speed'?",
        "zzz: there is no such attribute, it has no effect; remove it",
    ]


@pytest.mark.parametrize("value", ["hush", {"uri": ["hush"]}, {"uri": "hush\0"}])
def test_no_error_about_a_secret_object_shows_a_value(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Attributes({"server": value}, HOST).nested("server", secret=True).text("uri")
    assert caught.value.attribute.startswith("server")
    assert "hush" not in str(caught.value)


def test_no_list_and_no_choice_of_a_secret_object_shows_a_value() -> None:
    attributes = Attributes({"server": {"names": ["a", {"hush": 1.0}], "mode": "hush"}}, HOST)
    server = attributes.nested("server", secret=True)
    assert server.choice("mode", ("on", "off")) == "on"
    (problem,) = attributes.problems
    assert problem.startswith("server.mode: a hidden value is not a possible value")
    with pytest.raises(ConfigError, match="a hidden value is not one") as caught:
        server.texts("names")
    assert "hush" not in f"{problem} {caught.value}"


@pytest.mark.parametrize("values", [{}, {"a": None}])
def test_what_is_missing_is_the_default(values: dict[str, None]) -> None:
    attributes = Attributes(values, HOST)
    assert (attributes.text("a", "x"), attributes.number("a", 2.0), attributes.flag("a")) == ("x", 2.0, False)
    assert (attributes.texts("a"), attributes.path("a", ""), attributes.mapping("a")) == ((), "", {})
    assert attributes.nested("a").is_empty and not attributes.has("a")
    with pytest.raises(ConfigError, match="a: is missing"):
        attributes.required("a")


def test_the_case_of_a_name_does_not_matter_and_the_usual_spelling_goes_before_others() -> None:
    attributes = Attributes({"SYNC_Interval_Mins": 3.0, "Tags": ["other"], "tags": ["usual"], "Cloudy": 1.0}, HOST)
    attributes.accept(("cloudy",))
    assert attributes.number("sync_interval_mins", 1.0) == 3
    assert attributes.tags("tags") == ("usual",)
    assert attributes.problems == []
    attributes.report_unknown()
    assert attributes.problems == ["Tags: there is no such attribute, it has no effect; did you mean 'tags'?"]
