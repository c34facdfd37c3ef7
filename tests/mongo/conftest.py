"""The servers of these tests: a real mongod, and one in this process."""

from __future__ import annotations

import pytest

from holdfast.mongo import writer
from tests.mongo_server import MongoServer
from tests.mongod import mongod, the_mongod

__all__ = ["mongod", "the_mongod"]


@pytest.fixture
def server() -> MongoServer:
    return MongoServer()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(writer, "RETRY_MOST_S", 0.01)
