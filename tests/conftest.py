"""What holds for all tests: no property test fails because the computer is slow, and none sees what others left."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from holdfast.base import unforeseen

settings.register_profile(
    "holdfast",
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
)
settings.load_profile("holdfast")


@pytest.fixture(autouse=True)
def nothing_failed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed in a way that nobody foresaw is kept for the process, and so for other tests."""
    monkeypatch.setattr(unforeseen, "_found", {})
