"""Typed values, taken out of the attributes of a Viam config.

A value that is missing or null means the default, and so does the number 0, which to the builtin means "unset". A
value of a wrong type and a negative number raise ConfigError, which names the attribute in full, as in
`local_copy.max_bytes`. A number that is out of its attribute's range is a problem, which says what is used instead.
Numbers may be floats even where they are counts, since a config reaches a module as a protobuf Struct. The case of
a name does not matter, as to the builtin; where two names differ in nothing else, the usual spelling counts.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..base.words import MAX_SHOWN_CHARS, closest, shortened, shown
from ..errors import ConfigError
from .host import ConfiguredPath, Host, UnknownPathError

CLOUD_SIDE = frozenset(
    {"delete_data_on_part_deletion", "retention_policy", "recent_data_store", "cache_size_kb", "capture_methods_ui"}
)
"""Documented attributes that other programs act on. Holdfast accepts them and ignores them."""
_VARIABLE = re.compile(r"(?:^|/)\$(?:\w+|\{\w+\})(?:/|$)")
"""A folder's name that is the name of a variable, as a shell would expand it."""
NO_NUL = "must not contain a NUL character"


class Attributes:
    """The attributes of one object in a config, and the problems that were found in them.

    It remembers which names were read, so that `report_unknown` can report all others. The methods that return a
    typed value raise ConfigError when the value can't be used.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        host: Host,
        *,
        problems: list[str] | None = None,
        found_paths: list[ConfiguredPath] | None = None,
        prefix: str = "",
        secret: bool = False,
    ) -> None:
        self.problems: list[str] = [] if problems is None else problems
        """What is wrong and costs only a part."""
        self.found_paths: list[ConfiguredPath] = [] if found_paths is None else found_paths
        """The paths that were read, also those in the objects inside these attributes."""
        self._prefix = prefix
        self._values = values
        self._host = host
        self._secret = secret
        self._spelled = {name.lower(): name for name in reversed(list(values))}
        """How each name is spelled in the config, by the name in lower case."""
        self._known: set[str] = set()

    def child(self, values: Mapping[str, Any], prefix: str) -> Attributes:
        """Returns the attributes of an object in a list, with a list of problems of its own.

        The caller decides whether these problems count. `prefix` is the same as in `rename`.
        """
        return Attributes(values, self._host, found_paths=self.found_paths, prefix=prefix)

    def added_to(self, other: Attributes, prefix: str) -> Attributes:
        """Returns the attributes of two objects as those of one, with a list of problems of its own.

        A value of this object goes before the other's, unless it is null. `prefix` is the same as in `rename`.
        """
        own = {name: value for name, value in self._values.items() if value is not None}
        replaced = {name.lower() for name in own}
        kept = {name: value for name, value in other._values.items() if name.lower() not in replaced}
        return self.child({**kept, **own}, prefix)

    def nested(self, name: str, wanted: str = "an object", *, secret: bool = False) -> Attributes:
        """Returns the attributes of the object called `name`, which are empty if it is missing.

        Their problems are added to the list of these attributes. `wanted` says in an error what the value must be.
        If the object is `secret`, an error or problem about a text or about a wrong type does not show the value.
        """
        values = self._typed(name, Mapping, wanted, secret=secret)
        prefix = f"{self._prefix}{name}."
        return Attributes(
            values or {},
            self._host,
            problems=self.problems,
            found_paths=self.found_paths,
            prefix=prefix,
            secret=secret,
        )

    def rename(self, prefix: str) -> None:
        """Sets the text before an attribute's name in later errors and problems: the path to this object."""
        self._prefix = prefix

    @property
    def is_empty(self) -> bool:
        return not self._values

    def has(self, name: str) -> bool:
        """Tells whether there is a value called `name`; an empty one counts, null does not."""
        return self.raw(name) is not None

    def raw(self, name: str) -> Any:
        """Returns a value unchecked, as it stands in the config; None if it is missing."""
        name = self._as_spelled(name)
        self._known.add(name)
        return self._values.get(name)

    def text(self, name: str, default: str = "") -> str:
        value = self.any_text(name)
        if "\0" in value:
            raise self.error(name, NO_NUL)
        return default if self.raw(name) is None else value

    def any_text(self, name: str) -> str:
        """Returns a text that may contain NUL characters; "" if it is missing."""
        return str(self._typed(name, str, "a string") or "")

    def required(self, name: str) -> str:
        """Returns a text, which must be there and not be empty."""
        value = self.text(name)
        if not value:
            raise self.error(name, "is missing")
        return value

    def choice(self, name: str, offered: tuple[str, ...]) -> str:
        """Returns one of the texts `offered`. Any other text is a problem, and becomes the first, the default."""
        value = self.text(name, offered[0])
        if value in offered:
            return value
        possible = ", ".join(repr(text) for text in offered if text)
        given = self._shown(value)
        self.add_problem(name, f"{given} is not a possible value and has no effect; possible: {possible}")
        return offered[0]

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._typed(name, bool, "true or false")
        return default if value is None else bool(value)

    def number(
        self, name: str, default: float, *, least: float = 0.0, most: float = math.inf, nearest: bool = True
    ) -> float:
        """Returns a finite number from `least` to `most`; 0 means the default.

        In place of a number that is out of range, the nearest one in range is used, or, if not `nearest`, the
        default. Either is a problem.
        """
        value = self.unbounded(name)
        if not value:
            return default
        if least <= value <= most:
            return float(value)
        limit, bound = (least, "less than the minimum") if value < least else (most, "more than the maximum")
        if nearest:
            used = "which is used instead"
        else:
            used = f"so the default of {default:.12g} is used" if default else "so it has no effect"
        self.add_problem(name, f"{value:.12g} is {bound} of {limit:.12g}, {used}")
        return limit if nearest else default

    def whole(
        self, name: str, default: int, *, least: float = 1, most: float = math.inf, nearest: bool = True
    ) -> int:
        """Returns a whole number, by the same rules as `number`."""
        value = self.unbounded(name)
        if value != int(value):
            raise self.error(name, f"must be a whole number, it is {value:g}")
        return int(self.number(name, default, least=least, most=most, nearest=nearest))

    def share(self, name: str, default: float) -> float:
        """Returns a number above 0 and up to 1; 0 means the default, and so does a larger one, with a problem."""
        value = self.unbounded(name)
        if value <= 1:
            return value or default
        hint = f"write {value / 100:.12g} for {value:.12g} %" if value <= 100 else "1 is all of it"
        self.add_problem(name, f"{value:.12g} is not a share: {hint}. The default of {default:.12g} is used")
        return default

    def unbounded(self, name: str) -> float:
        """Returns any finite number ≥ 0; 0 if it is missing."""
        value = self._typed(name, (int, float), "a number")
        if isinstance(value, bool) or not abs(value or 0.0) <= sys.float_info.max:
            raise self.error(name, f"must be a number, not {self._shown(value)}")
        if value is not None and value < 0:
            raise self.error(name, f"can't be negative, it is {value:g}")
        return float(value or 0.0)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._typed(name, (list, tuple), "a list of strings")
        for item in value or ():
            if not isinstance(item, str):
                raise self.error(name, f"must be a list of strings; {self._shown(item)} is not one")
            if "\0" in item:
                raise self.error(name, NO_NUL)
        return tuple(value or ())

    def tags(self, name: str) -> tuple[str, ...]:
        """Returns a list of tags. An empty one is left out, with a problem."""
        return self._filled(name, "tag")

    def path(self, name: str, otherwise: str, default: str = "", *, synced: bool = False) -> str:
        """Returns the absolute path that a text means, as the builtin understands it (`Host.resolve`).

        Returns `default` if the text is missing, if it can't be known what it means, or if the path is to be
        `synced` and is protected. The last two are problems, in which `otherwise` says what follows.
        """
        value = self.text(name)
        return (self._resolved(name, value, otherwise, synced=synced) if value else "") or default

    def paths(self, name: str, otherwise: str, *, synced: bool = False) -> tuple[str, ...] | None:
        """Returns what each text in a list means, as `path` does, without those that can't be used.

        Returns None if there is no text in the list.
        """
        texts = self._filled(name, "path")
        found = (self._resolved(name, text, otherwise, synced=synced) for text in texts)
        return tuple(filter(None, found)) if texts else None

    def entries(self, name: str, wanted: str) -> tuple[Any, ...]:
        """Returns the items of a list, unchecked. `wanted` says in an error what the value must be."""
        return tuple(self._typed(name, (list, tuple), wanted) or ())

    def mapping(self, name: str) -> dict[str, Any]:
        """Returns an object whose names may be anything."""
        return dict(self._typed(name, Mapping, "an object") or {})

    def accept(self, names: Iterable[str]) -> None:
        """Makes names known that have no effect here and are not mistakes."""
        self._known.update(map(self._as_spelled, names))

    @property
    def known(self) -> frozenset[str]:
        """The names that were read or accepted so far, each in lower case."""
        return frozenset(name.lower() for name in self._known)

    def report_unknown(self, elsewhere: Collection[str] = (), place: str = "") -> None:
        """Adds a problem for each name that was neither read nor accepted. To be called after all that.

        What is called like one of `elsewhere`, in lower case, belongs in `place`.
        """
        for name in self._values:
            if name not in self._known:
                close = closest(name, sorted(self._known))
                hint = f"did you mean {close!r}?" if close else "remove it"
                if name.lower() in elsewhere:
                    hint = f"it belongs in {place}"
                self.add_problem(
                    shortened(name, MAX_SHOWN_CHARS), f"there is no such attribute, it has no effect; {hint}"
                )

    def add_problem(self, name: str, why: str) -> None:
        self.problems.append(f"{self._prefix}{name}: {why}")

    def error(self, name: str, why: str) -> ConfigError:
        """Returns the error that refuses an attribute, for the caller to raise."""
        return ConfigError(f"{self._prefix}{name}", why)

    def _typed(self, name: str, types: type | tuple[type, ...], wanted: str, *, secret: bool = False) -> Any:
        value = self.raw(name)
        if value is not None and not isinstance(value, types):
            given = "" if secret or self._secret else f", not {shown(value)}"
            raise self.error(name, f"must be {wanted}{given}")
        return value

    def _as_spelled(self, name: str) -> str:
        return name if name in self._values else self._spelled.get(name, name)

    def _shown(self, value: object) -> str:
        return "a hidden value" if self._secret else shown(value)

    def _filled(self, name: str, what: str) -> tuple[str, ...]:
        """Returns the texts of a list that are not empty. An empty one is a problem."""
        found = self.texts(name)
        for index, text in enumerate(found):
            if not text.strip():
                self.add_problem(f"{name}[{index}]", f"an empty {what} has no effect; remove it")
        return tuple(text for text in found if text.strip())

    def _resolved(self, name: str, path: str, otherwise: str, *, synced: bool) -> str:
        try:
            found = self._host.resolve(path)
        except UnknownPathError as unknown:
            found, why, fix = "", f": {unknown}", "write an absolute path"
        if _VARIABLE.search(path):
            found, why, fix = "", ": variables are not expanded", "write the whole path, or ~ for the home"
        elif found and synced and (what := self._host.protected.why(found)):
            means = "" if found == path else f" {found},"
            found, why, fix = "", f" is{means} {what}, and sync deletes what it delivers", "name one of your own"
        if not found:
            self.add_problem(name, f"{shown(path)}{why}; {otherwise}; {fix}")
        self.found_paths.append(ConfiguredPath(f"{self._prefix}{name}", path, found))
        return found
