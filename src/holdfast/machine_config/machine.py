"""A view of a machine's config, which it reads as viam-server does (RDK's config/config.go, resource/config.go).

Both ways of naming an API are understood: `"api": "rdk:component:sensor"`, and the older `"type": "sensor"` with
or without a `"namespace"`. Names of keys are read in any case (`spelling`). The objects here hold parts of the
config and no copies of them: what is changed through them is changed in the config.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..config import CAPTURE_METHODS, adopts
from ..errors import RequestError
from . import spelling

DATA_MANAGER = "rdk:service:data_manager"
BUILTIN = "rdk:builtin:builtin"
HOLDFAST = "holdfast:data-manager:durable"
MODULE_ID, MODULE_NAME = "holdfast:data-manager", "holdfast"

_MACHINE_SECTIONS = frozenset(
    {
        "components",
        "services",
        "modules",
        "remotes",
        "fragments",
        "cloud",
        "network",
        "auth",
        "packages",
        "processes",
    }
)
_RESOURCE_KINDS = {"components": "component", "services": "service"}
_FULL_NAME = re.compile(r"([\w-]+:[\w-]+:[\w-]+)/((?:[\w-]+:)+)?(.+)")

Json = dict[str, Any]


class UnreadableConfigError(RequestError):
    """A config does not have the shape of a machine's config. The message says where."""


class NoDataManagerError(RequestError):
    """A machine's config does not have exactly one data manager."""


@dataclass(frozen=True)
class FullName:
    """A full resource name, like `rdk:component:sensor/temp`, or with a remote `rdk:component:sensor/far:temp`."""

    api: str
    remote: str
    short: str

    @staticmethod
    def parsed(text: object) -> FullName | None:
        """Returns the parts of a name, or None when it is not a full one."""
        found = _FULL_NAME.fullmatch(text) if isinstance(text, str) else None
        return FullName(found[1], (found[2] or "").rstrip(":"), found[3]) if found else None

    def __str__(self) -> str:
        return f"{self.api}/{self.remote}:{self.short}" if self.remote else f"{self.api}/{self.short}"


@dataclass(frozen=True)
class Holder:
    """A component, a service or a remote: an entry of the config that may hold capture methods for the builtin."""

    where: str
    """Its place in the config, as in `components[2]`."""
    entry: Json
    kind: str
    """A "component", a "service" or a "remote"."""

    @property
    def name(self) -> str:
        return str(self.entry.get("name") or "")

    @property
    def title(self) -> str:
        """What it is and its name, for people."""
        return f"the {self.kind} {self.name}"

    @property
    def method_lists(self) -> list[list[Any]]:
        """The lists of capture methods in its service configs, without empty ones. Raises UnreadableConfigError."""
        lists = (self._methods_in(each) for each in self._data_manager_configs)
        return [methods for methods in lists if methods]

    def add_service_config(self, methods: list[Json]) -> None:
        """Adds a service config that holds these capture methods."""
        configs = self._service_configs
        self.entry["service_configs"] = configs
        configs.append({"type": "data_manager", "attributes": {CAPTURE_METHODS: methods}})

    def append_methods(self, methods: list[Json]) -> bool:
        """Adds capture methods to the list that counts for the builtin, and tells whether it had any before."""
        if not self._data_manager_configs:
            self.add_service_config(methods)
            return False
        filled = [each for each in self._data_manager_configs if self._methods_in(each)]
        last = (filled or self._data_manager_configs)[-1]
        last["attributes"] = {**self._attributes_of(last), CAPTURE_METHODS: [*self._methods_in(last), *methods]}
        return bool(filled)

    def append_beside(self, method: Json, methods: list[Json]) -> None:
        """Adds capture methods to the list that holds the object `method`."""
        for methods_there in self.method_lists:
            if any(each is method for each in methods_there):
                methods_there += methods

    def remove_methods(self) -> None:
        """Removes all capture methods, and the service configs that hold nothing else."""
        removed = False
        for each in self._data_manager_configs:
            attributes = self._attributes_of(each)
            if CAPTURE_METHODS in attributes:
                removed = True
                del attributes[CAPTURE_METHODS]
                if not attributes:
                    self.entry["service_configs"] = [other for other in self._service_configs if other is not each]
        if removed and not self.entry["service_configs"]:
            del self.entry["service_configs"]

    @property
    def _service_configs(self) -> list[Json]:
        return _objects(self.entry, "service_configs", self.where)

    @property
    def _data_manager_configs(self) -> list[Json]:
        return [each for each in self._service_configs if each.get("type") in ("data_manager", DATA_MANAGER)]

    def _attributes_of(self, service_config: Json) -> Json:
        return _object(service_config.get("attributes"), f"the attributes of a service config of {self.where}")

    def _methods_in(self, service_config: Json) -> list[Any]:
        return _list(self._attributes_of(service_config), CAPTURE_METHODS, self.where)


class Resource(Holder):
    """A component or a service."""

    @property
    def name(self) -> str:
        return super().name or ("builtin" if self.kind == "service" else "")

    @property
    def api(self) -> str:
        api = self.entry.get("api")
        if isinstance(api, dict):
            return ":".join(str(api.get(part, "")) for part in ("namespace", "type", "subtype"))
        if api:
            return str(api)
        return f"{self.entry.get('namespace') or 'rdk'}:{self.kind}:{self.entry.get('type', '')}"

    @property
    def model(self) -> str:
        model = self.entry.get("model") or (BUILTIN if self.kind == "service" else "")
        if isinstance(model, dict):
            return ":".join(str(model.get(part, "")) for part in ("namespace", "model_family", "name"))
        return str(model) if ":" in str(model) else f"rdk:builtin:{model}"

    @property
    def full_name(self) -> str:
        return f"{self.api}/{self.name}"

    @property
    def depends_on(self) -> list[str]:
        return [str(name) for name in _list(self.entry, "depends_on", self.where)]

    @property
    def attributes(self) -> Json:
        """Its attributes, which are empty if they are missing. To change them, see `attributes_to_change`."""
        return _object(self.entry.get("attributes"), f"the attributes of {self.where}")

    @property
    def listed_methods(self) -> list[Any]:
        """The `capture_methods` in its own attributes, which only Holdfast reads."""
        return _list(self.attributes, CAPTURE_METHODS, self.where)

    @property
    def adopts(self) -> bool:
        """Whether Holdfast, as this service, captures what components say too."""
        return adopts(self.attributes)

    def attributes_to_change(self) -> Json:
        """Returns its attributes as part of the config, which gets an empty object if they are missing."""
        found = self.entry["attributes"] = self.attributes
        return found


class Machine:
    """A whole config, with its resources, remotes and modules.

    Names of keys that are written in another case become the usual ones. Raises UnreadableConfigError, when created
    or when read, where the config does not have the right shape.
    """

    def __init__(self, config: Json) -> None:
        spelling.correct(config, spelling.MACHINE)
        self.config = config
        self.resources = [
            Resource(f"{section}[{index}]", entry, kind)
            for section, kind in _RESOURCE_KINDS.items()
            for index, entry in enumerate(_objects(config, section, "the config"))
        ]
        self.remotes = [
            Holder(f"remotes[{index}]", entry, "remote")
            for index, entry in enumerate(_objects(config, "remotes", "the config"))
        ]
        self.modules = _objects(config, "modules", "the config")
        for resource in self.resources:
            if resource.api == DATA_MANAGER:
                spelling.correct(resource.entry.get("attributes"), spelling.DATA_MANAGER)
        self._named: dict[str, list[Resource]] = {}
        self._places: dict[str, int] = {}
        for index, resource in enumerate(self.resources):
            self._places.setdefault(resource.full_name, index)
            for name in {resource.name, resource.full_name}:
                self._named.setdefault(name, []).append(resource)

    @property
    def data_manager(self) -> Resource:
        """The data manager. Raises NoDataManagerError unless there is exactly one."""
        found = [each for each in self.resources if each.api == DATA_MANAGER]
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(each.name for each in found)
            raise NoDataManagerError(f"a machine has one data manager, this one has {names}: remove all but one")
        hint = "; if it comes from a fragment, give the fragment instead" if self.has_fragments else ""
        raise NoDataManagerError(f"there is no data manager ({DATA_MANAGER}) in this config{hint}")

    @property
    def holders(self) -> list[Holder]:
        """All that may hold capture methods, in the order in which the builtin reads it."""
        return [*self.resources, *self.remotes]

    @property
    def capturable(self) -> list[Resource]:
        """The resources that a data manager may capture."""
        return [each for each in self.resources if each.api != DATA_MANAGER]

    @property
    def has_fragments(self) -> bool:
        return bool(self.config.get("fragments"))

    @property
    def may_have_more(self) -> bool:
        """Whether the machine may have resources that are not in this config."""
        return bool(self.remotes) or self.has_fragments

    def resources_named(self, name: str) -> list[Resource]:
        """Returns the resources with that short or full name, without those of remotes and fragments."""
        return self._named.get(name, [])

    def shortest_name(self, resource: Resource) -> str:
        """Returns a resource's short name if no other resource has it, and else its full name."""
        return resource.name if len(self.resources_named(resource.name)) == 1 else resource.full_name

    def remote_of(self, full_name: str) -> Holder | None:
        """Returns the remote whose prefix fits a name best, or else the first remote; None if there is none."""
        index = self._remote_index(full_name)
        return None if index is None else self.remotes[index]

    def prefix_of_remote(self, remote: str) -> str | None:
        """Returns what the machine puts before the names of a remote's resources; None for an unknown remote."""
        return next((_prefix(each) for each in self.remotes if each.entry.get("name") == remote), None)

    def place_of(self, full_name: str) -> tuple[int, int]:
        """Returns a sort key: local resources in the order of the config, then those of remotes, by remote."""
        place = self._places.get(full_name)
        return (1, self._remote_index(full_name) or 0) if place is None else (0, place)

    def holdfast_modules(self, path: str | None = None) -> list[Json]:
        """Returns the modules with Holdfast's id or name, and those whose executable is at `path`."""
        return [
            module
            for module in self.modules
            if _is_holdfasts(module) or (path and module.get("executable_path") == path)
        ]

    @property
    def other_local_modules(self) -> list[str]:
        """The names of the local modules without Holdfast's name. One may be Holdfast, since the app names them."""
        return [
            str(module.get("name"))
            for module in self.modules
            if module.get("executable_path") and not _is_holdfasts(module)
        ]

    def add_module(self, module: Json) -> None:
        self.modules.append(module)
        self.config["modules"] = self.modules

    def remove_holdfast_modules(self) -> list[Json]:
        """Removes Holdfast's modules from the config and returns them."""
        gone = [module for module in self.modules if _is_holdfasts(module)]
        self.modules[:] = [module for module in self.modules if not _is_holdfasts(module)]
        if gone and not self.modules:
            del self.config["modules"]
        return gone

    def _remote_index(self, full_name: str) -> int | None:
        short = full_name.partition("/")[2]
        prefixes = [_prefix(remote) for remote in self.remotes]
        fitting = [index for index, prefix in enumerate(prefixes) if short.startswith(prefix)]
        if not fitting:
            return 0 if prefixes else None
        return max(fitting, key=lambda index: (len(prefixes[index]), -index))


def is_machine(config: Json) -> bool:
    """Tells a machine's whole config from the config or the attributes of one service."""
    return not _MACHINE_SECTIONS.isdisjoint(name.lower() for name in config)


def _prefix(remote: Holder) -> str:
    return str(remote.entry.get("prefix") or "")


def _is_holdfasts(module: Json) -> bool:
    return module.get("module_id") == MODULE_ID or module.get("name") == MODULE_NAME


def _object(value: object, what: str) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnreadableConfigError(f"{what} must be an object")
    return value


def _list(holder: Json, key: str, where: str) -> list[Any]:
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise UnreadableConfigError(f"{key} of {where} must be a list")
    return value


def _objects(holder: Json, key: str, where: str) -> list[Json]:
    found = _list(holder, key, where)
    for index, each in enumerate(found):
        if not isinstance(each, dict):
            raise UnreadableConfigError(f"{key}[{index}] of {where} must be an object")
    return found
