"""The resources that the machine has besides those that viam-server gives as dependencies.

viam-server gives a module only the resources that its config names, and none for a short name that several have. A
control sensor or a command may name any other. So the machine is asked for what it has: by a command once, and
every `LOOK_AGAIN_S` while the dependencies do not tell which resource a wanted name means, whether the machine has
it or not. Else it is asked every `LIST_AGAIN_S`, so that the status can tell what else could be captured. What it
lists is called by API and name, as a dependency is. Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping

from google.protobuf.message import DecodeError
from viam.proto.robot import ResourceNamesRequest, ResourceNamesResponse

from ..base.clock import Clock, first_done
from ..base.tasks import begin, supervised
from ..capture.client import UnaryClient
from ..capture.methods import TABLES
from ..config import short_name
from ..errors import ResourceCallError

LOOK_AGAIN_S = 5.0
LIST_AGAIN_S = 60.0
_RESOURCE_NAMES = "/viam.robot.v1.RobotService/ResourceNames"
_MOST_BYTES = 1024 * 1024
_TIMEOUT_S = 5.0

Apis = Mapping[str, frozenset[str]]
"""The APIs of resources, by short name."""


class MachineResources:
    """Finds resources that the dependencies do not tell. `stop` must be called.

    `changed` is called when a resource that `find` looks for appears, goes, or has other APIs than before. While
    one is missing, it is also called when the machine lists other names: one of them may be what is meant.
    """

    def __init__(self, clock: Clock, changed: Callable[[], None]) -> None:
        self._client: UnaryClient | None = None
        self._clock = clock
        self._changed = changed
        self._given: Apis = {}
        self._full: frozenset[str] = frozenset()
        """The short names of the resources that are declared by their full names."""
        self._listed: dict[str, frozenset[str]] = {}
        self.listed_s: float | None = None
        """When the machine last listed its resources, on the monotonic clock; None before the first time."""
        self._unsure: frozenset[str] = frozenset()
        """The short names for which the machine is asked."""
        self._more = asyncio.Event()
        """Set when there are more of these than before, and must be asked for at once."""
        self._looking: asyncio.Task[None] | None = None

    def configure(self, client: UnaryClient | None, given: Apis, declared: Iterable[str]) -> None:
        """Sets the client for calls to the machine, and the resources `given` for the dependencies `declared`.

        With None as the client, the machine is not asked.
        """
        self._client, self._given = client, given
        self._full = frozenset(short_name(name) for name in declared if "/" in name)
        if client is not None and self._looking is None:
            self._looking = begin(supervised("the machine's resources", self._look), "holdfast-catalog")

    def known(self, *names: str) -> dict[str, frozenset[str]]:
        """Returns the APIs of the given resources, and of those that the machine listed when it was last asked.

        For what is given, the list counts only where `find` or one of `names` leaves open what else there is: it
        may be old.
        """
        unsure = self._unsure.union(short_name(name) for name in names if not self.is_told(name))
        both = {
            name: self._given[name] | self._listed.get(name, frozenset()) for name in unsure & self._given.keys()
        }
        return {**self._listed, **self._given, **both}

    @property
    def listed(self) -> Apis:
        """The resources that the machine listed at `listed_s`."""
        return self._listed

    def find(self, wanted: Collection[str]) -> dict[str, frozenset[str]]:
        """Returns what `known` returns, and begins to look for the names in `wanted` that `is_told` is false for.

        That lasts until a later call finds none of them, since a listed resource may disappear again.
        """
        before = self._unsure
        self._unsure = frozenset(short_name(name) for name in wanted if not self.is_told(name))
        if not self._unsure <= before:
            self._more.set()
        return self.known()

    def is_told(self, name: str) -> bool:
        """Returns whether the dependencies tell which resource a short or full name means.

        They do not where they hold it for its full name, and a short one may mean another one as well.
        """
        api, _, short = name.rpartition("/")
        return api in self._given.get(short, ()) if api else short in self._given and short not in self._full

    async def look_now(self) -> None:
        """Asks the machine for its resources. An answer that lists none leaves what was known before."""
        listed = await _listed_by(self._client) if self._client is not None else {}
        if not listed:
            return
        before, self._listed, self.listed_s = self._listed, listed, self._clock.monotonic()
        is_one_missing = not self._unsure <= listed.keys()
        if any(before.get(name) != listed.get(name) for name in self._unsure) or (
            is_one_missing and before.keys() != listed.keys()
        ):
            self._changed()

    def stop(self) -> None:
        """Asks no more."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        pause_s = LOOK_AGAIN_S  # at its start the machine has little to list, and much to do
        while True:
            await first_done(self._clock.sleep(pause_s), self._more.wait())
            self._more.clear()
            await self.look_now()
            pause_s = LOOK_AGAIN_S if self._unsure else LIST_AGAIN_S


async def _listed_by(client: UnaryClient) -> dict[str, frozenset[str]]:
    """Returns the APIs that can be captured, by short name; none when the machine can't be asked."""
    try:
        answer = await client.call(
            _RESOURCE_NAMES, ResourceNamesRequest().SerializeToString(), _TIMEOUT_S, _MOST_BYTES
        )
        names = ResourceNamesResponse.FromString(bytes(answer)).resources
    except (ResourceCallError, DecodeError):
        return {}
    found: dict[str, frozenset[str]] = {}
    for name in names:
        api = f"{name.namespace}:{name.type}:{name.subtype}"
        if api in TABLES:
            found[name.name] = found.get(name.name, frozenset()) | {api}
    return found
