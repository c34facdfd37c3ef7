"""What a round has found and not started yet. Belongs to the event loop.

Small capture files wait for others that share their call. Sequences wait for the data that they name, and files
that may be cutting the link wait for everything else, both until the end of the round.
"""

from __future__ import annotations

from ..storage.layout import FileKind
from .delivery.bundler import Bundler
from .found import Found
from .retries import Retries

MAX_SUSPECTS = 1000
MAX_SEQUENCES = 1000
"""How many of each wait for the end of the round; any beyond that are treated like other files."""


class Gathered:
    """The files of one round. Each method returns groups of files, none empty, each of which is to be one upload.
    What is returned is forgotten."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._bundler = Bundler(retries.most_together)
        self._sequences: list[Found] = []
        self._suspects: list[Found] = []

    def add(self, found: Found) -> list[list[Found]]:
        """Takes in `found`; returns what is to be started now."""
        if found.kind is FileKind.ENDED_SEQUENCE and len(self._sequences) < MAX_SEQUENCES:
            self._sequences.append(found)
        elif self._retries.is_suspect(found.path) and len(self._suspects) < MAX_SUSPECTS:
            self._suspects.append(found)
        else:
            return self._bundler.add(found)
        return []

    def take_small(self) -> list[list[Found]]:
        """Returns the small files that wait for others to join them."""
        return _not_empty(self._bundler.take())

    def take_rest(self) -> list[list[Found]]:
        """Returns everything but the suspects, the sequences last."""
        sequences, self._sequences = self._sequences, []
        return [*_not_empty(self._bundler.take()), *([each] for each in sequences)]

    def take_suspects(self) -> list[list[Found]]:
        """Returns the files that may be cutting the link. It is called after `take_rest`."""
        suspects, self._suspects = self._suspects, []
        bundles = [full for found in suspects for full in self._bundler.add(found)]
        return [*bundles, *_not_empty(self._bundler.take())]


def _not_empty(group: list[Found]) -> list[list[Found]]:
    return [group] if group else []
