"""What the table of commands is made of: a command, its arguments, and what each argument may be.

Numbers come from Viam as floats. An argument that is missing or null has its default; one that can't be is a
CommandError that names it, what is allowed and, where there is one, the closest known name.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CommandError
from ..manager import Manager

Arguments = Mapping[str, Any]
Check = Callable[[str, Any], Any]
"""From an argument's name and the given value to the value that is used; raises CommandError."""


@dataclass(frozen=True)
class Argument:
    """One argument. `check` is not asked about one that is missing or null, unless `nullable`."""

    name: str
    check: Check
    meaning: str
    required: bool = False
    default: Any = None
    nullable: bool = False
    """Whether null is a value of its own, which is given as None."""


@dataclass(frozen=True)
class Command:
    name: str
    does: str
    run: Callable[[Manager, Arguments], Awaitable[dict[str, Any]]]
    arguments: tuple[Argument, ...] = ()

    def help(self) -> dict[str, Any]:
        return {
            "does": self.does,
            "arguments": {
                argument.name: f"{argument.meaning}; required" if argument.required else argument.meaning
                for argument in self.arguments
            },
        }

    def arguments_from(self, given: Arguments) -> dict[str, Any]:
        """All arguments by name, checked; CommandError names the first that can't be."""
        known = {argument.name: argument for argument in self.arguments}
        for name in given:
            if name not in known:
                raise CommandError(f"{self.name}: there is no argument {name!r}; {did_you_mean(name, known)}")
        return {argument.name: self._value(argument, given) for argument in self.arguments}

    def _value(self, argument: Argument, given: Arguments) -> Any:
        value = given.get(argument.name)
        if value is None and argument.nullable and argument.name in given:
            return None
        if value is None and argument.required:
            raise CommandError(f"{self.name}: {argument.name} is missing: {argument.meaning}")
        if value is None:
            return argument.default
        try:
            return argument.check(argument.name, value)
        except CommandError as error:
            raise CommandError(f"{self.name}: {error}") from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known, as a sentence."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names)}." if names else "there is none."


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise CommandError(f"{name} must be true or false, not {value!r}")
    return value


def text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise CommandError(f"{name} must be a text, not {value!r}")
    return value


def one_of(*allowed: str) -> Check:
    def check(name: str, value: Any) -> str:
        if value not in allowed:
            raise CommandError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        return str(value)

    return check


def texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise CommandError(f"{name} must be a list of texts, not {value!r}")
    return tuple(value)


def mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise CommandError(f"{name} must be an object, not {value!r}")
    return dict(value)


def number(name: str, value: Any) -> float:
    """A finite number from 0 on."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise CommandError(f"{name} must be a number, 0 or more, not {value!r}")
    return float(value)


def seconds(name: str, value: Any) -> float:
    """A duration above 0 that a clock can count."""
    found = number(name, value)
    if not 0 < found <= MAX_SECONDS:
        raise CommandError(f"{name} must be more than 0 and at most {MAX_SECONDS:g} seconds, not {value!r}")
    return found


MAX_SECONDS = 100 * 365 * 86_400.0
