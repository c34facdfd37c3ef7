"""`Labels` finds metadata that does not belong to its readings."""

from __future__ import annotations

import time

import pytest
from viam.proto.app.datasync import UploadMetadata

from .calls import SECOND_NS
from .labels import TAKES_EFFECT_NS, Labels, Tags


@pytest.fixture
def changed_ns() -> int:
    return time.time_ns()


@pytest.fixture
def tags(changed_ns: int) -> Tags:
    tags = Tags(["old"])
    tags.change(["new"])
    return tags


def test_tags_may_be_those_of_now(tags: Tags, changed_ns: int) -> None:
    assert tags.fit(["new"], changed_ns + SECOND_NS)
    assert tags.fit(["new"], changed_ns + 2 * TAKES_EFFECT_NS)
    assert not tags.fit(["other"], changed_ns + SECOND_NS)


def test_tags_may_be_the_former_ones_for_a_while(tags: Tags, changed_ns: int) -> None:
    assert tags.fit(["old"], changed_ns - SECOND_NS)
    assert tags.fit(["old"], changed_ns + SECOND_NS)
    assert not tags.fit(["old"], changed_ns + 2 * TAKES_EFFECT_NS)


def test_tags_may_not_come_before_they_are_configured(tags: Tags, changed_ns: int) -> None:
    assert not tags.fit(["new"], changed_ns - SECOND_NS)


def test_every_field_is_compared() -> None:
    labels = Labels(Tags(), part_id="part", file_extension=".dat")
    assert not labels.wrong(UploadMetadata(part_id="part", file_extension=".dat"), SECOND_NS)
    wrong = labels.wrong(UploadMetadata(part_id="other", tags=["unknown"]), SECOND_NS)
    assert wrong == [
        "part_id is 'other', not 'part'",
        "file_extension is '', not '.dat'",
        "tags are ['unknown'], which were not configured then",
    ]
