"""Typed values, taken out of the attributes of a Viam config. Part of `config`.

A value that is missing or null is the default, and so is a zero where the builtin takes it for "unset". A wrong
type or a negative number raises ConfigError, which names the attribute in full, as in `local_copy.max_bytes`.
Numbers come as floats, since a config reaches a module as a protobuf Struct.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ..base.words import MAX_SHOWN_CHARS, closest, shortened, shown
from ..errors import ConfigError

CLOUD_SIDE = frozenset(
    {"delete_data_on_part_deletion", "retention_policy", "recent_data_store", "cache_size_kb", "capture_methods_ui"}
)
"""Documented attributes that other programs act on: they are accepted without a word."""


class Attributes:
    """The attributes of one object of a config, and the problems that were found in them.

    It remembers which names were asked for, so that it can report all others as unknown.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        home: str = "",
        *,
        problems: list[str] | None = None,
        prefix: str = "",
        secret: bool = False,
    ) -> None:
        self.problems: list[str] = [] if problems is None else problems
        """What is wrong and costs only a part. Objects within these attributes add to the same list."""
        self.prefix = prefix
        """What precedes the name of an attribute in errors and problems."""
        self._values = values
        self._home = home
        self._secret = secret
        self._known: set[str] = set()

    def child(self, values: Mapping[str, Any], prefix: str, *, secret: bool = False) -> Attributes:
        """Returns the attributes of an object that lies within these.

        When it is `secret`, an error about a text or about a wrong type does not show the value.
        """
        return Attributes(values, self._home, problems=self.problems, prefix=prefix, secret=secret)

    def nested(self, name: str, wanted: str = "an object", *, secret: bool = False) -> Attributes:
        """Returns the attributes of the object of that name; they are empty where it is missing.

        `wanted` says in an error what the value must be; `secret` is as in `child`.
        """
        values = self._typed(name, Mapping, wanted, secret=secret)
        return self.child(values or {}, f"{self.prefix}{name}.", secret=secret)

    @property
    def is_empty(self) -> bool:
        return not self._values

    def has(self, name: str) -> bool:
        """Whether there is a value of that name, even an empty one."""
        return self.raw(name) is not None

    def raw(self, name: str) -> Any:
        """Returns a value as it stands in the config; None where it is missing."""
        self._known.add(name)
        return self._values.get(name)

    def text(self, name: str, default: str = "") -> str:
        value = self._typed(name, str, "a string")
        if value is not None and "\0" in value:
            raise self.error(name, "must not hold a NUL character")
        return default if value is None else str(value)

    def required(self, name: str) -> str:
        """Returns a text; raises ConfigError where it is missing or empty."""
        value = self.text(name)
        if not value:
            raise self.error(name, "is missing")
        return value

    def choice(self, name: str, offered: tuple[str, ...]) -> str:
        """Returns one of the texts `offered`: the first by default, and for any other text, which is a problem."""
        value = self.text(name, offered[0])
        if value in offered:
            return value
        possible = ", ".join(repr(text) for text in offered if text)
        self.add_problem(name, f"{shown(value)} is not possible, it has no effect; possible: {possible}")
        return offered[0]

    def flag(self, name: str) -> bool:
        return bool(self._typed(name, bool, "true or false"))

    def number(self, name: str, default: float, most: float = math.inf) -> float:
        """Returns a finite number ≥ 0; 0 is the default. A number above `most` is a problem, and becomes `most`."""
        value = self._typed(name, (int, float), "a number")
        if value is None:
            return default
        if isinstance(value, bool) or not math.isfinite(value):
            raise self.error(name, f"must be a number, not {shown(value)}")
        if value < 0:
            raise self.error(name, f"can't be negative, it is {value:g}")
        if value > most:
            self.add_problem(name, f"at most {most:g} is possible and used, not {value:g}")
        return min(float(value), most) or default

    def whole(self, name: str, default: int, most: float = math.inf) -> int:
        """Returns a whole number, by the same rules as `number`."""
        value = self.number(name, default, most)
        if value != int(value):
            raise self.error(name, f"must be a whole number, it is {value:g}")
        return int(value)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._typed(name, (list, tuple), "a list of strings")
        for item in value or ():
            if not isinstance(item, str):
                raise self.error(name, f"must be a list of strings; {shown(item)} is not one")
            if "\0" in item:
                raise self.error(name, "must not hold a NUL character")
        return tuple(value or ())

    def path(self, name: str, default: str = "") -> str:
        """Returns an absolute path, in which "~" is the home folder; an empty text where no path is given."""
        value = self.text(name) or default
        return self._absolute(value) if value else ""

    def paths(self, name: str) -> tuple[str, ...]:
        return tuple(self._absolute(text) for text in self.texts(name) if text)

    def entries(self, name: str, wanted: str) -> tuple[Any, ...]:
        """Returns the items of a list, unchecked. `wanted` says in an error what the value must be."""
        return tuple(self._typed(name, (list, tuple), wanted) or ())

    def mapping(self, name: str) -> dict[str, Any]:
        """Returns an object whose names are not ours to check."""
        return dict(self._typed(name, Mapping, "an object") or {})

    def accept(self, names: Iterable[str]) -> None:
        """Makes names known that have no effect and are nevertheless no mistake."""
        self._known.update(names)

    def report_unknown(self) -> None:
        """Adds a problem for each name that is not known, once all others were asked for."""
        for name in self._values:
            if name not in self._known:
                close = closest(name, sorted(self._known))
                hint = f"did you mean {close!r}?" if close else "remove it"
                self.add_problem(
                    shortened(name, MAX_SHOWN_CHARS), f"there is no such attribute, it has no effect; {hint}"
                )

    def add_problem(self, name: str, why: str) -> None:
        self.problems.append(f"{self.prefix}{name}: {why}")

    def error(self, name: str, why: str) -> ConfigError:
        """Returns the error, to be raised, that refuses an attribute."""
        return ConfigError(f"{self.prefix}{name}", why)

    def _typed(self, name: str, types: type | tuple[type, ...], wanted: str, *, secret: bool = False) -> Any:
        value = self.raw(name)
        if value is not None and not isinstance(value, types):
            given = "" if secret or self._secret else f", not {shown(value)}"
            raise self.error(name, f"must be {wanted}{given}")
        return value

    def _absolute(self, path: str) -> str:
        if path.startswith("~") and self._home:
            path = os.path.join(self._home, path[1:].lstrip("/"))
        return os.path.abspath(path)
