"""`Labels` judges the metadata of uploads: the source of the readings, their kind, and their tags.

A change of the config takes effect some time after it is made, never before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from viam.proto.app.datasync import UploadMetadata

from .calls import SECOND_NS, SLACK_NS

TAKES_EFFECT_NS = 60 * SECOND_NS
"""The most time until a change of the config takes effect. Of two quick ones viam-server misses one, until the
next one."""


class Tags:
    """The tags that were configured, and since when."""

    def __init__(self, tags: Sequence[str] = ()) -> None:
        self._since: list[tuple[int, tuple[str, ...]]] = [(0, tuple(tags))]

    def change(self, tags: Sequence[str]) -> None:
        """Notes that these tags are configured from now on."""
        if tuple(tags) != self._since[-1][1]:
            self._since.append((time.time_ns(), tuple(tags)))

    def fit(self, tags: Sequence[str], at_ns: int) -> bool:
        """Returns whether what is captured at `at_ns` may have these tags."""
        ends = [*(end_ns for _, (end_ns, _) in pairwise(self._since)), at_ns]
        return any(
            known == tuple(tags) and begin_ns <= at_ns + SLACK_NS and at_ns <= end_ns + TAKES_EFFECT_NS
            for (begin_ns, known), end_ns in zip(self._since, ends, strict=True)
        )


class Labels:
    """The metadata of one source. `expected` are fields of `UploadMetadata` with their values."""

    def __init__(self, tags: Tags, **expected: Any) -> None:
        self._tags = tags
        self._expected = expected

    def wrong(self, about: UploadMetadata, at_ns: int) -> list[str]:
        """Returns what is wrong for a reading that was served at `at_ns`, in words."""
        wrong = [
            f"{name} is {getattr(about, name)!r}, not {value!r}"
            for name, value in self._expected.items()
            if getattr(about, name) != value
        ]
        if not self._tags.fit(about.tags, at_ns):
            wrong.append(f"tags are {list(about.tags)}, which were not configured then")
        return wrong
