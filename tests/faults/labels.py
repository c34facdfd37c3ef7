"""What the metadata of an upload has to say of its readings: whose they are, of what kind, and the tags with which
they were captured.

A change of the config takes effect later than it is made, never before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from viam.proto.app.datasync import UploadMetadata

from .calls import SECOND_NS, SLACK_NS

TAKES_EFFECT_NS = 60 * SECOND_NS
"""So late may a change of the config take effect: of two quick ones viam-server misses one, until the next."""


class Tags:
    """What was configured, and since when."""

    def __init__(self, tags: Sequence[str] = ()) -> None:
        self._since: list[tuple[int, tuple[str, ...]]] = [(0, tuple(tags))]

    def change(self, tags: Sequence[str]) -> None:
        """They are configured from now on."""
        if tuple(tags) != self._since[-1][1]:
            self._since.append((time.time_ns(), tuple(tags)))

    def fit(self, tags: Sequence[str], at_ns: int) -> bool:
        """Whether what is captured at `at_ns` may have these."""
        ends = [*(end_ns for _, (end_ns, _) in pairwise(self._since)), at_ns]
        return any(
            known == tuple(tags) and begin_ns <= at_ns + SLACK_NS and at_ns <= end_ns + TAKES_EFFECT_NS
            for (begin_ns, known), end_ns in zip(self._since, ends, strict=True)
        )


class Labels:
    """Of one source; `expected` are fields of `UploadMetadata`."""

    def __init__(self, tags: Tags, **expected: Any) -> None:
        self._tags = tags
        self._expected = expected

    def wrong(self, about: UploadMetadata, at_ns: int) -> list[str]:
        """What is not as it has to be for a reading that was served at `at_ns`, in words."""
        wrong = [
            f"{name} is {getattr(about, name)!r}, not {value!r}"
            for name, value in self._expected.items()
            if getattr(about, name) != value
        ]
        if not self._tags.fit(about.tags, at_ns):
            wrong.append(f"tags are {list(about.tags)}, which were not configured then")
        return wrong
