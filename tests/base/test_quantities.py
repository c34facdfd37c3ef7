from __future__ import annotations

import pytest

from holdfast.base.quantities import duration, size


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (3_250_000, "3.1 MiB"), (200 << 20, "200 MiB")],
)
def test_a_size_in_words(size_bytes: int, words: str) -> None:
    assert size(size_bytes) == words


def test_a_size_has_no_unit_beyond_the_last() -> None:
    assert size(5000 << 40) == "5000 TiB"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (180, "3 min"), (9000, "2.5 h"), (400_000, "5 days")]
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
