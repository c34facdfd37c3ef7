"""The server of these tests."""

from __future__ import annotations

from tests.mongod import mongod, the_mongod

__all__ = ["mongod", "the_mongod"]
