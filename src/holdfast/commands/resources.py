"""Resources and methods in the arguments of commands: what is known of them, and what is said of an unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..base.words import shown
from ..capture.methods import methods_of
from ..capture.resolve import Resolution, resolve
from ..config import CaptureMethod, Config, short_name
from ..errors import CommandError
from ..manager import Manager
from ..steering import Wanted, effective, pair_of
from .command import did_you_mean


@dataclass(frozen=True)
class KnownResources:
    """What the machine has, and what of it is configured."""

    config: Config
    apis: Mapping[str, frozenset[str]]
    configured: tuple[CaptureMethod, ...]
    """Entries that are switched off too."""

    @property
    def names(self) -> list[str]:
        return sorted({*self.apis, *(short_name(method.name) for method in self.configured)})

    def methods_of(self, resource: str) -> list[str]:
        offered = {name for api in self.apis.get(resource, ()) for name in methods_of(api)}
        return sorted(offered | {m.method for m in self.configured if short_name(m.name) == resource})

    def configured_as(self, resource: str, method: str) -> CaptureMethod | None:
        return next((each for each in self.configured if pair_of(each) == (resource, method)), None)

    def resource(self, argument: str, name: str, also: Sequence[str] = ()) -> str:
        """The short name of a resource; CommandError where the machine has none of that name. `also` are what the
        argument may be besides."""
        resource = short_name(name)
        if resource not in self.names:
            hint = did_you_mean(resource, [*also, *self.names])
            raise CommandError(f"{argument}: there is no resource {shown(name)}; {hint}")
        return resource

    def pair(self, name: str, method: str) -> str:
        """As `resource`, where the method is one of the resource's too."""
        resource = self.resource("resource", name)
        offered = self.methods_of(resource)
        if method not in offered:
            hint = did_you_mean(method, offered)
            raise CommandError(f"method: {shown(method)} of {resource!r} can't be captured; {hint}")
        return resource

    def resolved(self, method: CaptureMethod) -> Resolution:
        return resolve([method], self.apis)[0]


async def known_resources(manager: Manager, *resources: str) -> KnownResources:
    """What is known; the machine is asked, once, when one of `resources` is not.

    CommandError where nothing is configured.
    """
    config = manager.config
    if config is None or manager.engine is None:
        raise CommandError("the data manager is not configured yet")
    if any(short_name(resource) not in manager.resources.apis for resource in resources):
        await manager.steering.machine.look_now()
    apis = manager.steering.machine.all_known(manager.resources.apis)
    return KnownResources(config, apis, (*config.methods, *config.off_methods))


async def known_pair(manager: Manager, name: str, method: str) -> tuple[KnownResources, str]:
    """The short name of a resource; CommandError where it is not known, or has no such method."""
    known = await known_resources(manager, name)
    return known, known.pair(name, method)


def running(manager: Manager, known: KnownResources, resource: str, method: str) -> Wanted | None:
    """A pair as it is to run now; None where it is off or paused."""
    wanted = effective(known.configured, known.config.tags, manager.steering.orders)
    return next((each for each in wanted if pair_of(each.method) == (resource, method)), None)
