"""The log as the module's limit lets it through."""

from __future__ import annotations

import logging

import pytest

from holdfast.base.log_limit import LogLimit


def limited(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The records that the limit lets through, of those that were logged so far, as if all came in one moment."""
    passed: list[logging.LogRecord] = []
    limit = LogLimit(passed.append, lambda: 0.0)
    for record in caplog.records:
        limit.handle(record)
    return passed
