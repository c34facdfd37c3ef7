"""Variables in a local config have their values, in every form that viam-server's library knows."""

from __future__ import annotations

import pytest

from holdfast.machine_config import substituted

VARIABLES = {"NAME": "eye", "EMPTY": "", "OTHER": "ear"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$NAME", "eye"),
        ("${NAME}", "eye"),
        ("a-${NAME}-b", "a-eye-b"),
        ("$NAME.x", "eye.x"),
        ("$NONE|${NONE}|", "||"),
        ("${NONE:-x y}", "x y"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${NONE-x}", "x"),
        ("${NONE:=x}${NONE=y}", "xy"),
        ("${NAME:-x}", "eye"),
        ("${NAME+x}${NONE+y}${NAME:+z}", "xz"),
        ("${NONE:-$OTHER}", "ear"),
        ("$$NAME", "$NAME"),
        ("$_ $ {NAME} ${environment.NAME} ${}", "$_ $ {NAME} ${environment.NAME} ${}"),
        ('{"a": "100 %"}', '{"a": "100 %"}'),
    ],
)
def test_variables_have_their_values(text: str, value: str) -> None:
    assert substituted(text, VARIABLES) == value
