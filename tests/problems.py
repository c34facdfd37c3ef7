"""What a status says is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def problems_in(status: Mapping[str, Any], *kinds: str) -> list[str]:
    """What is wrong, as sentences: all of it, or what is of these kinds."""
    return [each["what"] for each in status["problems"] if not kinds or each["kind"] in kinds]
