"""The resources and methods that an argument of a command may name, and the error for any other."""

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
    """The resources of the machine, and the methods that the config names."""

    config: Config
    apis: Mapping[str, frozenset[str]]
    configured: tuple[CaptureMethod, ...]
    """The entries of `capture_methods`, with those that are switched off."""

    @property
    def names(self) -> list[str]:
        return sorted({*self.apis, *(short_name(method.name) for method in self.configured)})

    def methods_of(self, resource: str) -> list[str]:
        offered = {name for api in self.apis.get(resource, ()) for name in methods_of(api)}
        return sorted(offered | {m.method for m in self.configured if short_name(m.name) == resource})

    def configured_as(self, resource: str, method: str) -> CaptureMethod | None:
        return next((each for each in self.configured if pair_of(each) == (resource, method)), None)

    def resource(self, argument: str, name: str, also: Sequence[str] = ()) -> str:
        """Returns the short name of a resource.

        Raises CommandError when the machine has none of that name. Its hint lists `also` before the resources.
        """
        resource = short_name(name)
        if resource not in self.names:
            hint = did_you_mean(resource, [*also, *self.names])
            raise CommandError(f"{argument}: there is no resource {shown(name)}; {hint}")
        return resource

    def resource_with_method(self, name: str, method: str) -> str:
        """Returns the short name of a resource.

        Raises CommandError when there is no such resource, or it has no such method.
        """
        resource = self.resource("resource", name)
        offered = self.methods_of(resource)
        if method not in offered:
            hint = did_you_mean(method, offered)
            raise CommandError(f"method: {shown(method)} of {resource!r} can't be captured; {hint}")
        return resource

    def resolved(self, method: CaptureMethod) -> Resolution:
        return resolve([method], self.apis)[0]


async def known_resources(manager: Manager, *resources: str) -> KnownResources:
    """Returns the known resources. Asks the machine, once, when viam-server did not give one of `resources`.

    Raises CommandError while there is no config.
    """
    config = manager.config
    if config is None or manager.engine is None:
        raise CommandError("the data manager is not configured yet")
    if any(short_name(resource) not in manager.resources.apis for resource in resources):
        await manager.steering.resources.look_now()
    apis = manager.steering.resources.all_known(manager.resources.apis)
    return KnownResources(config, apis, (*config.methods, *config.off_methods))


async def known_method(manager: Manager, name: str, method: str) -> tuple[KnownResources, str]:
    """Returns the known resources, and the short name of the resource `name`.

    Raises CommandError when there is none, or it has no such method, or there is no config.
    """
    known = await known_resources(manager, name)
    return known, known.resource_with_method(name, method)


def running(manager: Manager, known: KnownResources, resource: str, method: str) -> Wanted | None:
    """Returns the pair as it is to run now; None while it is off or paused."""
    wanted = effective(known.configured, known.config.tags, manager.steering.orders)
    return next((each for each in wanted if pair_of(each.method) == (resource, method)), None)
