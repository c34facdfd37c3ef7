"""The resources that the machine has besides those that viam-server gives as dependencies.

viam-server gives a module only the resources that its config names. A control sensor or a command may name any
other, so the machine is asked for them: by a command once, and every `LOOK_AGAIN_S` while the name of a wanted
resource is not among the dependencies, whether the machine lists it or not. Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from google.protobuf.message import DecodeError
from viam.proto.robot import ResourceNamesRequest, ResourceNamesResponse

from ..base.clock import Clock
from ..base.tasks import begin, supervised
from ..capture.client import UnaryClient
from ..capture.methods import TABLES
from ..errors import ResourceCallError

LOOK_AGAIN_S = 5.0
_RESOURCE_NAMES = "/viam.robot.v1.RobotService/ResourceNames"
_TIMEOUT_S = 5.0

Apis = Mapping[str, frozenset[str]]
"""The APIs of resources, by short name."""


class MachineResources:
    """Finds resources that are not among the dependencies. `stop` must be called.

    `changed` is called when a resource that `find` looks for appears, goes, or has other APIs than before.
    """

    def __init__(self, clock: Clock, changed: Callable[[], None]) -> None:
        self._client: UnaryClient | None = None
        self._clock = clock
        self._changed = changed
        self._listed: dict[str, frozenset[str]] = {}
        self._missing: frozenset[str] = frozenset()
        self._looking: asyncio.Task[None] | None = None

    def configure(self, client: UnaryClient | None) -> None:
        """Sets the client for calls to the machine; with None, the machine is not asked."""
        self._client = client

    def all_known(self, given: Apis) -> dict[str, frozenset[str]]:
        """Returns the APIs of the resources in `given`, and of those that the machine listed when last asked."""
        return {**self._listed, **given}

    def find(self, given: Apis, wanted: Iterable[str]) -> dict[str, frozenset[str]]:
        """Returns what `all_known` returns, and starts to look for the names in `wanted` that are not in `given`.

        The search lasts until a later call finds every wanted name in `given`, since a listed resource may
        disappear again.
        """
        self._missing = frozenset(name for name in wanted if name not in given)
        if self._missing and self._looking is None and self._client is not None:
            look = supervised("the machine's resources", self._look)
            self._looking = begin(look, "holdfast-catalog")
        return self.all_known(given)

    async def look_now(self) -> None:
        """Asks the machine for its resources. An answer that lists none leaves what was known before."""
        if self._client is not None:
            self._listed = await _listed_by(self._client) or self._listed

    def stop(self) -> None:
        """Ends the search."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        while self._missing:
            before = self._listed
            await self.look_now()
            if any(before.get(name) != self._listed.get(name) for name in self._missing):
                self._changed()
            await self._clock.sleep(LOOK_AGAIN_S)
        self._looking = None


async def _listed_by(client: UnaryClient) -> dict[str, frozenset[str]]:
    """Returns the APIs that can be captured, by short name; none when the machine can't be asked."""
    try:
        answer = await client.call(_RESOURCE_NAMES, ResourceNamesRequest().SerializeToString(), _TIMEOUT_S)
        names = ResourceNamesResponse.FromString(answer).resources
    except (ResourceCallError, DecodeError):
        return {}
    found: dict[str, frozenset[str]] = {}
    for name in names:
        api = f"{name.namespace}:{name.type}:{name.subtype}"
        if api in TABLES:
            found[name.name] = found.get(name.name, frozenset()) | {api}
    return found
