"""What holds for all tests: no property test fails because the computer is slow."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("holdfast", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("holdfast")
