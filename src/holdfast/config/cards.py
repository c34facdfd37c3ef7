"""The cards, found by what they capture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ConfigError
from .attributes import Attributes
from .capture_entry import Identity, identity_of, refuse_too_deep, runs
from .model import Card, ordered, short_name

LEFT_OUT = "this is not captured, all else is"


@dataclass(frozen=True)
class ReadCard:
    """A card that says what it captures. Its other attributes are not checked yet."""

    card: Card
    identity: Identity
    entry: Attributes
    """Errors and problems in it begin with the component."""


class Cards:
    """All cards that say what they capture. Each other one becomes a problem of `attributes`, the service's."""

    def __init__(self, attributes: Attributes, cards: Sequence[Card]) -> None:
        self.all: list[ReadCard] = []
        self._about: dict[Identity, dict[str, ReadCard]] = {}
        """By what they capture with the short name of the resource, and then by the full name."""
        for card in cards:
            try:
                self._add(_read(attributes, card))
            except ConfigError as error:
                attributes.problems.append(f"{error}; {LEFT_OUT}")

    def about(self, entry: Attributes) -> ReadCard | None:
        """Returns the card that is about the same as an entry of `capture_methods`, by its short or its full name.

        Of several, it is the first one that runs. Raises ConfigError for a short name that several resources have.
        """
        identity = identity_of(entry)
        found = self._about.get(_in_short(identity), {})
        if "/" in identity.name:
            return found.get(identity.name)
        if len(found) > 1:
            raise entry.error("name", f"several resources are named {identity.name!r}: write {' or '.join(found)}")
        return next(iter(found.values()), None)

    def _add(self, card: ReadCard) -> None:
        self.all.append(card)
        named = self._about.setdefault(_in_short(card.identity), {})
        known = named.get(card.identity.name)
        if known is None or (runs(card.entry) and not runs(known.entry)):
            named[card.identity.name] = card


def _read(attributes: Attributes, card: Card) -> ReadCard:
    refuse_too_deep(f"{card.where}: ", card.values)
    entry = attributes.child(dict(ordered(card.values)), f"{card.where}: ")
    identity = identity_of(entry)
    of_remote = f"{identity.name} " if card.source == "remote" else ""
    entry.rename(f"{card.where} ({of_remote}{identity.method}): ")
    return ReadCard(card, identity, entry)


def _in_short(identity: Identity) -> Identity:
    return identity._replace(name=short_name(identity.name))
