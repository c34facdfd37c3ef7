"""The commands `start_sequence` and `stop_sequence`: periods of time whose data the cloud groups."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ..base.words import shown
from ..config import short_name
from ..errors import CommandError
from ..manager import Manager
from ..steering import SequenceSpec
from ..storage.sequence_files import rfc3339_ms
from .command import Argument, Arguments, Command, items, text, texts
from .resources import known_resources

_RESOURCES = 'the list of what belongs to it: [{"resource": NAME, "method": NAME}, …]'


def _pairs(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    if not value:
        raise CommandError(f"{name} must be {_RESOURCES}, and is empty")
    pairs = []
    for index, each in enumerate(items(name, value, _RESOURCES)):
        if not isinstance(each, Mapping) or set(each) != {"resource", "method"}:
            raise CommandError(f'{name}[{index}] must be {{"resource": NAME, "method": NAME}}, not {shown(each)}')
        pairs.append(
            (
                text(f"{name}[{index}].resource", each["resource"]),
                text(f"{name}[{index}].method", each["method"]),
            )
        )
    return tuple(pairs)


async def _start(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    if manager.config is not None and manager.config.capture_disabled:
        raise CommandError("capture is disabled, so a sequence would have no data")
    given = dict.fromkeys(arguments["resources"])
    known = await known_resources(manager, *(name for name, _ in given))
    pairs = []
    for name, method in given:
        pairs.append((short_name(known.resource_with_method(name, method)), method))
        await asyncio.sleep(0)  # with a thousand of them, and as many that are captured, this takes long
    sequences = manager.steering.sequences
    await sequences.settled()  # since then sync may have delivered some, which counts
    identity = sequences.start(SequenceSpec(tuple(pairs), arguments["tags"]))
    await sequences.settled()
    return {"id": identity}


async def _stop(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    sequences = manager.steering.sequences
    identity = arguments["id"]
    ended = sequences.end(identity)
    if ended is None:
        ids = [each.identity for each in sequences.open if not each.by_sensor]
        known = f"open by command: {', '.join(ids)}" if ids else "none is open by command"
        raise CommandError(f"id: no sequence {shown(identity)} is open; {known}. A restart ends all of them")
    await sequences.settled()
    return {"id": identity, "start": rfc3339_ms(ended.start_ns), "end": rfc3339_ms(ended.end_ns)}


START_SEQUENCE = Command(
    "start_sequence",
    "starts a sequence, a period of time whose data the cloud groups; returns its id",
    _start,
    (
        Argument("resources", _pairs, _RESOURCES, required=True),
        Argument("tags", texts, "tags of the sequence", default=()),
    ),
)
STOP_SEQUENCE = Command(
    "stop_sequence",
    "stops a sequence; the next sync sends it",
    _stop,
    (Argument("id", text, "the id that start_sequence returned", required=True),),
)
