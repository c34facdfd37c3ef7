from __future__ import annotations

import pytest

from holdfast.sync.way import VARIABLES


@pytest.fixture(autouse=True)
def no_network_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this computer's environment says of proxies and certificates is nobody's finding."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
