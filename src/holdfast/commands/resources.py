"""The resources and methods that an argument of a command may name, and the error for any other.

A short name means all resources that have it, a full one that resource alone. A full name whose short one no other
resource has is the short one: so what was set by one is undone by the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..base.words import shown
from ..capture.methods import methods_of
from ..capture.resolve import Resolution, full_names, resolve, several
from ..config import CaptureMethod, Config, short_name
from ..errors import CommandError
from ..manager import Manager
from ..steering import Orders, Wanted, effective, names_of
from .command import did_you_mean


@dataclass(frozen=True)
class KnownResources:
    """The resources of the machine, and the methods that the config names."""

    config: Config
    apis: Mapping[str, frozenset[str]]
    configured: tuple[CaptureMethod, ...]
    """The entries of `capture_methods`, with those that are switched off."""

    @cached_property
    def names(self) -> list[str]:
        return sorted({*self.apis, *(short_name(method.name) for method in self.configured)})

    def meant_by(self, resource: str) -> list[str]:
        """Returns the full names of the resources that a name means, as far as they are known."""
        short = short_name(resource)
        known = {f"{api}/{short}" for api in self.apis.get(short, ())}
        known.update(each.name for each in self.configured if each.name != short == short_name(each.name))
        return sorted(name for name in known if resource in (name, short))

    def methods_of(self, resource: str) -> list[str]:
        offered = {name for full in self.meant_by(resource) for name in methods_of(full.rpartition("/")[0])}
        return sorted(offered | {each.method for each in self.configured if self.means(resource, each)})

    def means(self, resource: str, method: CaptureMethod) -> bool:
        """Returns whether a method is of the resource, or of one of the resources, that a name means."""
        return resource in names_of(method, self.apis)

    def resource(self, argument: str, name: str, also: Sequence[str] = ()) -> str:
        """Returns the name of a resource: the full one, if that was given and others have its short one.

        Raises CommandError when the machine has none of that name. Its hint lists `also` before the resources.
        """
        short = short_name(name)
        others = self.meant_by(short)
        if short not in self.names:
            hint = did_you_mean(short, [*also, *self.names])
            raise CommandError(f"{argument}: there is no resource {shown(name)}; {hint}")
        if name != short and others and name not in others:
            raise CommandError(f"{argument}: there is no resource {shown(name)}; {did_you_mean(name, others)}")
        return name if len(others) > 1 else short

    def resource_with_method(self, name: str, method: str) -> str:
        """Returns the name of a resource, as `resource` does.

        Raises CommandError when there is no such resource, or it has no such method.
        """
        resource = self.resource("resource", name)
        offered = self.methods_of(resource)
        if method not in offered:
            hint = did_you_mean(method, offered)
            raise CommandError(f"method: {shown(method)} of {shown(resource)} can't be captured; {hint}")
        return resource

    def configured_as(self, resource: str, method: str) -> CaptureMethod | None:
        """Returns the first entry of the config that has the method, of the one resource that a name means.

        Raises CommandError when that may be several resources.
        """
        found = [each for each in self.configured if each.method == method and self.means(resource, each)]
        choices = {names_of(each, self.apis)[0] for each in found}
        choices = choices or {*full_names(CaptureMethod(resource, method, 0.0), self.apis)}
        if len(choices) > 1:
            raise CommandError(f"resource: {several(resource, sorted(choices))}")
        return found[0] if found else None

    def resolved(self, method: CaptureMethod) -> Resolution:
        return resolve([method], self.apis)[0]


async def known_resources(manager: Manager, *resources: str) -> KnownResources:
    """Returns the known resources. Asks the machine, once, when the dependencies do not tell what `resources` are.

    Raises CommandError while there is no config.
    """
    config = manager.config
    if config is None or manager.engine is None:
        raise CommandError("the data manager is not configured yet")
    machine = manager.steering.resources
    if not all(map(machine.is_told, resources)):
        await machine.look_now()
    return KnownResources(config, machine.known(*resources), (*config.methods, *config.off_methods))


async def known_method(manager: Manager, name: str, method: str) -> tuple[KnownResources, str]:
    """Returns the known resources, and the name of the resource `name` as `KnownResources.resource` does.

    Raises CommandError when there is none, or it has no such method, or there is no config.
    """
    known = await known_resources(manager, name)
    return known, known.resource_with_method(name, method)


def running(manager: Manager, known: KnownResources, resource: str, method: str) -> Wanted | None:
    """Returns what of the pair is to run now, or the first of it; None while it is off or paused."""
    return _by(manager.steering.orders, known, resource, method)


def unpaused(manager: Manager, known: KnownResources, resource: str, method: str) -> Wanted | None:
    """Returns what of the pair runs whenever nothing is paused, or the first of it; None while it is off."""
    orders = replace(manager.steering.orders, paused=frozenset(), all_paused=False)
    return _by(orders, known, resource, method)


def _by(orders: Orders, known: KnownResources, resource: str, method: str) -> Wanted | None:
    wanted = effective(known.configured, known.config.tags, orders, known.apis)
    found = (each for each in wanted if each.method.method == method and known.means(resource, each.method))
    return next(found, None)
