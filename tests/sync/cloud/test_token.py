from __future__ import annotations

import base64
import json
import time

import pytest

from holdfast.sync.cloud.token import MAX_CHARS, Token, why_unusable


def jwt(**claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.x"


def test_a_token_is_old_at_four_fifths_of_its_life_whatever_the_calendar_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    token = Token(jwt(iat=5_000_000, exp=5_000_100))
    assert not token.is_old
    now_s += 79
    assert not token.is_old
    now_s += 2
    assert token.is_old


def test_a_token_that_tells_only_its_end_counts_from_now() -> None:
    assert not Token(jwt(exp=time.time() + 1000)).is_old


def payload(text: str) -> str:
    return f"e30.{base64.urlsafe_b64encode(text.encode()).decode().rstrip('=')}.x"


NO_LIFE = [
    "", "opaque", "a.b.c", "a.!!!.c", jwt(), jwt(exp="x"), jwt(exp=1), "e30.W10.x",
    payload('{"exp": 1' + "0" * 400 + "}"), payload('{"exp": ' + "9" * 5000 + "}"), payload('{"exp": NaN}'),
    payload('{"exp": -Infinity}'), payload('{"exp": [1]}'), payload('{"exp": null}'), payload('"exp"'),
    payload("[" * 10_000), payload('{"exp":' * 10_000), payload('{"exp": 1e400, "iat": 1e400}'),
]  # fmt: skip


@pytest.mark.parametrize("text", NO_LIFE, ids=range(len(NO_LIFE)))
def test_a_token_whose_life_is_not_told_is_never_old(text: str) -> None:
    assert not Token(text).is_old


def test_a_token_of_a_very_short_life_is_not_renewed_with_each_call() -> None:
    assert not Token(jwt(iat=0, exp=1e-9)).is_old


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("x" * (MAX_CHARS + 1), "characters"),
        ("a\nb", "header"),
        ("a\0b", "header"),
        ("grün", "header"),
        ("a b", "header"),
        ("a\x7f", "header"),
    ],
)
def test_a_token_that_no_call_can_carry_is_named_so(text: str, why: str) -> None:
    assert why in why_unusable(text)


@pytest.mark.parametrize("text", ["x", jwt(exp=1), "x" * MAX_CHARS, "!~"])
def test_every_other_token_is_used(text: str) -> None:
    assert why_unusable(text) == ""
