"""What is captured: the entries of the attribute `capture_methods`, and the cards.

An entry and a card are about the same if they name the same resource, method and parameters. An entry with a
frequency replaces the card. One without a frequency adds its other keys to the card's; so `disabled: true` alone
switches the card off.

An entry or a card that can't be used is left out and becomes a problem that names it. It never keeps the others
from running. Nor does a card make `parse` refuse the service: where the service's own folder would, as one in the
local copy, a card's is replaced by the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ConfigError
from .attributes import Attributes
from .capture_entry import CAPTURE_DIRECTORY, Identity, entry_of, identity_of, is_addition, method_of
from .cards import LEFT_OUT, Cards, ReadCard
from .host import Host
from .model import CaptureMethod, Card, is_off
from .space import CopySettings, overlaps

CAPTURE_METHODS = "capture_methods"
_ADDS_TO_NOTHING = (
    "it is the number of readings a second; an entry without one adds to the settings of a component, and none has "
    "this capture method"
)


@dataclass(frozen=True)
class SettledCard:
    """A card in whose place an entry of `capture_methods` counts."""

    card: Card
    index: int
    """The entry's place in the list."""
    adds: bool
    """Whether the entry only adds its keys to the card's."""
    runs: bool
    """Whether the result is captured, and not switched off."""


def capture_methods(
    attributes: Attributes, cards: Sequence[Card] = (), local_copy: CopySettings | None = None
) -> tuple[tuple[CaptureMethod, ...], tuple[CaptureMethod, ...]]:
    """Returns what runs, and what is switched off; in both, the entries stand before the cards.

    Of two entries that capture the same, the first one runs, and so of two cards. What is switched off is left out
    when one that runs captures the same. No `capture_directory` of a card overlaps with `local_copy`. Raises
    ConfigError when the attribute is not a list.
    """
    merge = _merged(attributes, cards, local_copy)
    merge.add_cards()
    return merge.on, merge.off


def settled_cards(methods: Sequence[Any], cards: Sequence[Card]) -> list[SettledCard]:
    """Returns the cards that entries of `capture_methods` replace, add to or switch off."""
    attributes = Attributes({CAPTURE_METHODS: methods}, Host(""))
    return list(_merged(attributes, cards, None).settled.values())


def _merged(attributes: Attributes, cards: Sequence[Card], local_copy: CopySettings | None) -> _Merge:
    merge = _Merge(attributes, cards, local_copy)
    for index, values in enumerate(attributes.entries(CAPTURE_METHODS, "a list of capture methods")):
        merge.add_entry(index, values)
    return merge


class _Merge:
    """What was found so far, by what it captures."""

    def __init__(self, attributes: Attributes, cards: Sequence[Card], local_copy: CopySettings | None) -> None:
        self._attributes = attributes
        self._local_copy = local_copy
        self._problems = attributes.problems
        self._cards = Cards(attributes, cards)
        self.settled: dict[Identity, SettledCard] = {}
        """By what they capture."""
        self._on: dict[Identity, CaptureMethod] = {}
        self._off: list[tuple[Identity, CaptureMethod]] = []

    @property
    def on(self) -> tuple[CaptureMethod, ...]:
        return tuple(self._on.values())

    @property
    def off(self) -> tuple[CaptureMethod, ...]:
        return tuple(method for identity, method in self._off if identity not in self._on)

    def add_entry(self, index: int, values: object) -> None:
        where, otherwise = f"{CAPTURE_METHODS}[{index}]", "this entry is not captured, the others are"
        try:
            entry = entry_of(self._attributes, where, values)
            card = self._cards.about(entry)
            if card is None:
                self._add(where, identity_of(entry), entry, method_of(entry, without_frequency=_ADDS_TO_NOTHING))
            else:
                otherwise = f"this entry has no effect, the settings of {card.card.where} hold"
                self._settle(index, where, entry, card)
        except ConfigError as error:
            self._problems.append(f"{error}; {otherwise}")

    def _settle(self, index: int, where: str, entry: Attributes, card: ReadCard) -> None:
        """Adds an entry that replaces a card or adds to it. Raises ConfigError, and then the card still holds."""
        is_first = card.identity not in self.settled
        adds = is_addition(entry)
        if adds and not is_first:
            self._say_twice(where, card.identity)
            return
        if adds:
            has_own_folder = entry.has(CAPTURE_DIRECTORY)
            entry = entry.added_to(card.entry, f"{where}, added to {card.card.where}: ")
            method = replace(method_of(entry, card.card.source), name=card.identity.name)
            method = method if has_own_folder else self._beside_local_copy(entry, method)
        else:
            method = method_of(entry)
        runs = not is_off(method.frequency_hz)
        if self._add(where, card.identity, entry, method) and (is_first or runs):
            self.settled[card.identity] = SettledCard(card.card, index, adds, runs)

    def add_cards(self) -> None:
        """Adds the cards that no entry replaces or adds to."""
        for card in self._cards.all:
            if card.identity not in self.settled:
                try:
                    method = self._beside_local_copy(card.entry, method_of(card.entry, card.card.source))
                    self._add(card.card.where, card.identity, card.entry, method)
                except ConfigError as error:
                    self._problems.append(f"{error}; {LEFT_OUT}")

    def _beside_local_copy(self, entry: Attributes, method: CaptureMethod) -> CaptureMethod:
        """Returns the method with the default in place of a card's folder that overlaps with the local copy."""
        copy, folder = self._local_copy, method.capture_directory
        if copy is None or not folder or not overlaps(copy, folder):
            return method
        entry.add_problem(
            CAPTURE_DIRECTORY,
            f"{folder} and the local copy {copy.folder} must not lie inside each other; its data is kept in "
            "capture_dir; name another folder",
        )
        return replace(method, capture_directory="")

    def _add(self, where: str, identity: Identity, entry: Attributes, method: CaptureMethod) -> bool:
        """Adds a method, and tells whether it counts: of two that run, the first does."""
        if is_off(method.frequency_hz):
            self._off.append((identity, method))
        elif identity in self._on:
            self._say_twice(where, identity)
            return False
        else:
            self._on[identity] = method
        self._problems += entry.problems
        return True

    def _say_twice(self, where: str, identity: Identity) -> None:
        what = f"{identity.method} of {identity.name} with these parameters"
        self._problems.append(f"{where}: {what} appears twice; the first entry is used")
