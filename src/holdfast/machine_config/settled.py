"""What becomes of a card where an entry in the data manager's own list is about the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..config import CAPTURE_METHODS, SettledCard, settled_cards
from .linking import LinkedEntry
from .machine import Json


@dataclass(frozen=True)
class SettledEntry:
    """An entry of a component, a service or a remote, and the entry of the list that counts in its place."""

    linked: LinkedEntry
    index: int
    """The place in the data manager's list."""
    result: Json
    """What is captured, without the name of the resource."""
    text: str
    """Says what the one does to the other."""


def settled_entries(methods: Sequence[Any], linked: Sequence[LinkedEntry]) -> list[SettledEntry]:
    """Returns the linked entries that an entry of the data manager's own list replaces, adds to or switches off."""
    cards = [entry.card for entry in linked]
    by_card = {id(card): entry for card, entry in zip(cards, linked, strict=True)}
    return [
        _settled(by_card[id(found.card)], found, methods[found.index]) for found in settled_cards(methods, cards)
    ]


def _settled(linked: LinkedEntry, found: SettledCard, entry: Json) -> SettledEntry:
    given = {key: value for key, value in entry.items() if key != "name" and not (found.adds and value is None)}
    change = "adds to" if found.adds else "replaces"
    verb = "switches off" if linked.runs and not found.runs else change
    return SettledEntry(
        linked,
        found.index,
        {**linked.without_name, **given} if found.adds else given,
        f"{CAPTURE_METHODS}[{found.index}] {verb} {linked} in the settings of {linked.holder.title}",
    )
