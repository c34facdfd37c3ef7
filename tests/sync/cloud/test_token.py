from __future__ import annotations

import base64
import json
import time

import pytest

from holdfast.sync.cloud.token import Token


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


@pytest.mark.parametrize("text", ["", "opaque", "a.b.c", "a.!!!.c", jwt(), jwt(exp="x"), jwt(exp=1), "e30.W10.x"])
def test_a_token_whose_life_is_not_told_is_never_old(text: str) -> None:
    assert not Token(text).is_old
