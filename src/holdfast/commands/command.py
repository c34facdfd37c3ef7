"""The entries of the table of commands: a command, its arguments, and the checks of their values.

An argument that is missing or null has its default. A wrong one is a CommandError that names the argument, what is
allowed, and the closest known name if there is one. Numbers come from Viam as floats. An error shows only a part of
a long value, since it has to fit into the trailers of an answer.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.words import closest, shown
from ..errors import CommandError
from ..manager import Manager

Arguments = Mapping[str, Any]
Check = Callable[[str, Any], Any]
"""Takes an argument's name and the given value, and returns the value to use; raises CommandError."""
MAX_TEXT_CHARS = 4096
MAX_ITEMS = 1_000
"""The most paths, resources and the like in one argument."""
MIN_SECONDS = 0.001
MAX_SECONDS = 100 * 365 * 86_400.0
_MAX_HINTED = 20


@dataclass(frozen=True)
class Argument:
    """One argument of a command. `check` is not called when it is missing or null."""

    name: str
    check: Check
    meaning: str
    required: bool = False
    default: Any = None


@dataclass(frozen=True)
class Command:
    """One command. `does` is what its help says; `run` takes the checked arguments."""

    name: str
    does: str
    run: Callable[[Manager, Arguments], Awaitable[dict[str, Any]]]
    arguments: tuple[Argument, ...] = ()

    def help(self) -> dict[str, Any]:
        """Returns what the command does and what its arguments mean, as plain values."""
        return {
            "does": self.does,
            "arguments": {
                argument.name: f"{argument.meaning}; required" if argument.required else argument.meaning
                for argument in self.arguments
            },
        }

    def arguments_from(self, given: Arguments) -> dict[str, Any]:
        """Returns all arguments by name, checked. Raises CommandError, which names the first that is wrong."""
        known = {argument.name: argument for argument in self.arguments}
        for name in given:
            if name not in known:
                raise CommandError(f"there is no argument {shown(name)}; {did_you_mean(name, known)}")
        return {argument.name: _value(argument, given.get(argument.name)) for argument in self.arguments}


def _value(argument: Argument, given: Any) -> Any:
    if given is not None:
        return argument.check(argument.name, given)
    if argument.required:
        raise CommandError(f"{argument.name} is missing: {argument.meaning}")
    return argument.default


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns a hint for a name that is not among `known`, as a sentence: the closest one, or the first of them."""
    names = list(known)
    close = closest(name, names)
    if close is not None:
        return f"did you mean {close!r}?"
    more = ", …" if len(names) > _MAX_HINTED else ""
    return f"there are: {', '.join(names[:_MAX_HINTED])}{more}." if names else "there is none."


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise CommandError(f"{name} must be true or false, not {shown(value)}")
    return value


def text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise CommandError(f"{name} must be a string, not {shown(value)}")
    if not 0 < len(value) <= MAX_TEXT_CHARS:
        raise CommandError(f"{name} must be a string of 1 to {MAX_TEXT_CHARS} characters, not of {len(value)}")
    if "\0" in value:
        raise CommandError(f"{name} must not contain a NUL character")
    return value


def one_of(*allowed: str) -> Check:
    def check(name: str, value: Any) -> str:
        if value not in allowed:
            raise CommandError(f"{name} must be one of {', '.join(allowed)}, not {shown(value)}")
        return str(value)

    return check


def items(name: str, value: Any, what: str = "a list of strings") -> Sequence[Any]:
    """Checks that the value is a list of at most `MAX_ITEMS`. `what` names the list in an error."""
    if not isinstance(value, (list, tuple)):
        raise CommandError(f"{name} must be {what}, not {shown(value)}")
    if len(value) > MAX_ITEMS:
        raise CommandError(f"{name} must be a list of at most {MAX_ITEMS}, not of {len(value)}")
    return value


def texts(name: str, value: Any) -> tuple[str, ...]:
    return tuple(text(f"{name}[{index}]", each) for index, each in enumerate(items(name, value)))


def mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise CommandError(f"{name} must be an object, not {shown(value)}")
    return dict(value)


def number(name: str, value: Any) -> float:
    """Checks that the value is a finite number, 0 or more."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= sys.float_info.max:
        raise CommandError(f"{name} must be a number, 0 or more, not {shown(value)}")
    return float(value)


def seconds(name: str, value: Any) -> float:
    """Checks that the value is a duration from `MIN_SECONDS` to `MAX_SECONDS`."""
    found = number(name, value)
    if not MIN_SECONDS <= found <= MAX_SECONDS:
        raise CommandError(f"{name} must be from {MIN_SECONDS:g} to {MAX_SECONDS:g} seconds, not {found:g}")
    return found
