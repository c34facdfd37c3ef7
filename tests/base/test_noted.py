"""A text keeps the time at which it was noted, wherever it goes."""

from __future__ import annotations

from holdfast.base.noted import Noted


def test_it_is_the_text_and_has_its_time() -> None:
    noted = Noted("no space", 3.5)
    assert (noted, f"{noted}!", noted.at_s) == ("no space", "no space!", 3.5)
    assert {"error": noted} == {"error": "no space"}
