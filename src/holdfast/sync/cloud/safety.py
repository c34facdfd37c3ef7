"""The safety stop: a cloud that refuses everything is not the cloud (a captive portal, a wrong proxy).

Belongs to the event loop.
"""

from __future__ import annotations

COLLECTORS_UNTIL_STOP = 3


class SafetyStop:
    """Told of each unit that is accepted or refused for good, and by whom; says whether to believe a refusal."""

    def __init__(self) -> None:
        self._accepted = False
        self._refused: set[str] = set()

    def connected(self) -> None:
        """A new connection: nothing was accepted by whoever answers there."""
        self._accepted = False

    def accepted(self) -> None:
        self._accepted = True
        self._refused.clear()

    def believes(self, collector: str) -> bool:
        """A unit of `collector` is refused for good: False when units of three collectors in a row were, and none
        was accepted since the last connect."""
        if self._accepted:
            return True
        if len(self._refused) < COLLECTORS_UNTIL_STOP:
            self._refused.add(collector)
        return len(self._refused) < COLLECTORS_UNTIL_STOP
