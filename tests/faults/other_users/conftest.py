"""The neighbour, and the place in which root and the neighbour live."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.conftest import skip_for

from .neighbour import Neighbour, a_neighbour, problem
from .place import Place, a_place


@pytest.fixture(scope="session")
def neighbour() -> Iterator[Neighbour]:
    """Another user. Skips the test without root; in CI the test fails."""
    skip_for(problem())
    with a_neighbour() as made:
        yield made


@pytest.fixture
def place(neighbour: Neighbour) -> Iterator[Place]:
    with a_place(neighbour) as made:
        yield made
