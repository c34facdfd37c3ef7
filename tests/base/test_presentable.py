"""What leaves the program as an answer."""

from __future__ import annotations

from typing import Any

from viam.utils import dict_to_struct, struct_to_dict

from holdfast.base.fitting import MAX_BYTES, size_bytes
from holdfast.base.presentable import presentable


def test_what_is_not_known_is_left_out_at_any_depth_and_nothing_else_is() -> None:
    answer = {"age_s": None, "rows": [{"readings": None, "n": 0}, None, (None, "")], "copy": {"bytes": None}}
    found = presentable(answer)
    assert found == {"rows": [{"n": 0}, [""]], "copy": {}}
    assert struct_to_dict(dict_to_struct(found)) == found


def test_an_answer_is_escaped_and_small_too() -> None:
    answer: dict[str, Any] = {"rows": [{"path": "a\n\x1b", "age_s": None}] * 100_000}
    found = presentable(answer)
    assert found["rows"][0] == {"path": r"a\n\x1b"} and size_bytes(found) <= MAX_BYTES
    assert found["not_shown"] == {"rows": 100_000 - len(found["rows"])}
