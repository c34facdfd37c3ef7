"""What is captured: the entries of the attribute `capture_methods`, and the cards.

An entry and a card are about the same if they name the same resource, method and parameters. An entry with a
frequency replaces the card. One without a frequency adds its other keys to the card's; so `disabled: true` alone
switches the card off.

An entry or a card that can't be used is left out and becomes a problem that names it. It never keeps the others
from running.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import ConfigError
from .attributes import Attributes
from .capture_entry import Identity, entry_of, identity_of, is_addition, method_of
from .cards import LEFT_OUT, Adopted, Cards
from .model import CaptureMethod, Card, is_off

CAPTURE_METHODS = "capture_methods"
_ADDS_TO_NOTHING = (
    "it is the number of readings a second; an entry without one adds to the settings of a component, and none has "
    "this capture method"
)


def capture_methods(
    attributes: Attributes, cards: Sequence[Card] = ()
) -> tuple[tuple[CaptureMethod, ...], tuple[CaptureMethod, ...]]:
    """Returns what runs, and what is switched off; in both, the entries stand before the cards.

    Of two entries that capture the same, the first one runs, and so of two cards. What is switched off is left out
    when one that runs captures the same. Raises ConfigError when the attribute is not a list.
    """
    merge = _Merge(attributes, cards)
    for index, values in enumerate(attributes.entries(CAPTURE_METHODS, "a list of capture methods")):
        merge.add_entry(f"{CAPTURE_METHODS}[{index}]", values)
    merge.add_cards()
    return merge.on, merge.off


class _Merge:
    """What was found so far, by what it captures."""

    def __init__(self, attributes: Attributes, cards: Sequence[Card]) -> None:
        self._attributes = attributes
        self._problems = attributes.problems
        self._cards = Cards(attributes, cards)
        self._settled: set[Identity] = set()
        """The cards that an entry replaces or adds to, by what they capture."""
        self._on: dict[Identity, CaptureMethod] = {}
        self._off: list[tuple[Identity, CaptureMethod]] = []

    @property
    def on(self) -> tuple[CaptureMethod, ...]:
        return tuple(self._on.values())

    @property
    def off(self) -> tuple[CaptureMethod, ...]:
        return tuple(method for identity, method in self._off if identity not in self._on)

    def add_entry(self, where: str, values: object) -> None:
        otherwise = "this entry is not captured, the others are"
        try:
            entry = entry_of(self._attributes, where, values)
            card = self._cards.about(entry)
            if card is None:
                self._add(where, identity_of(entry), entry, method_of(entry, without_frequency=_ADDS_TO_NOTHING))
            else:
                otherwise = f"this entry has no effect, the settings of {card.where} hold"
                self._settle(where, entry, card)
        except ConfigError as error:
            self._problems.append(f"{error}; {otherwise}")

    def _settle(self, where: str, entry: Attributes, card: Adopted) -> None:
        """Adds an entry that replaces a card or adds to it. Raises ConfigError, and then the card still holds."""
        if not is_addition(entry):
            self._add(where, card.identity, entry, method_of(entry))
        elif card.identity in self._settled:
            self._say_twice(where, card.identity)
        else:
            both = entry.added_to(card.entry, f"{where}, added to {card.where}: ")
            method = replace(method_of(both, card.source), name=card.identity.name)
            self._add(where, card.identity, both, method)
        self._settled.add(card.identity)

    def add_cards(self) -> None:
        """Adds the cards that no entry replaces or adds to."""
        for card in self._cards.all:
            if card.identity not in self._settled:
                try:
                    self._add(card.where, card.identity, card.entry, method_of(card.entry, card.source))
                except ConfigError as error:
                    self._problems.append(f"{error}; {LEFT_OUT}")

    def _add(self, where: str, identity: Identity, entry: Attributes, method: CaptureMethod) -> None:
        if is_off(method.frequency_hz):
            self._off.append((identity, method))
        elif identity in self._on:
            self._say_twice(where, identity)
            return
        else:
            self._on[identity] = method
        self._problems += entry.problems

    def _say_twice(self, where: str, identity: Identity) -> None:
        what = f"{identity.method} of {identity.name} with these parameters"
        self._problems.append(f"{where}: {what} appears twice; the first entry is used")
