"""Gaps as the status and the command line show them. Plain functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..storage.ledger.counts import CollectorId
from ..storage.sequence_files import rfc3339_ms
from .causes import Absence, Cause
from .gap_file import Kept
from .gaps import Gap, gap_of

_NS = 1_000_000_000
_WORDS = {
    Cause.SLOW_CALL.value: "a call ran long",
    Cause.COMPUTER.value: "a call ran long while the computer was busy",
    Cause.LOOP.value: "Holdfast was late",
    Cause.RESOURCE_LIMIT.value: "too many calls to the resource",
    Cause.MEMORY.value: "no memory for the answer",
    Cause.ERROR.value: "calls failed",
    Cause.DISK.value: "the disk did not take them",
    Cause.UNKNOWN.value: "not known",
    Absence.PAUSED.value: "paused by command",
    Absence.CONTROL_SENSOR.value: "off by the control sensor",
    Absence.NO_RESOURCE.value: "the resource was not there",
    Absence.CONFIG.value: "off in the config",
    Absence.NOT_RUNNING.value: "Holdfast was not running",
}


def described(collector: CollectorId, gap: Gap) -> dict[str, Any]:
    """Returns a gap as plain values. What is not known is None."""
    api, resource, method = collector
    return {
        "resource": resource,
        "api": api,
        "method": method,
        "from": rfc3339_ms(gap.from_ns),
        "to": None if gap.to_ns is None else rfc3339_ms(gap.to_ns),
        "lasts_s": None if gap.lasts_s is None else round(gap.lasts_s, 1),
        "missed": gap.missed,
        "why": [{"cause": cause, "readings": count or None} for cause, count in _largest_first(gap)],
    }


def why_in_words(gap: Gap) -> str:
    """Returns the causes of a gap for people, the largest first, with their shares if there are several."""
    causes, missed = _largest_first(gap), gap.missed
    if len(causes) == 1 or not missed:
        return ", ".join(_WORDS.get(cause, cause) for cause, _ in causes)
    return ", ".join(f"{_WORDS.get(cause, cause)} ({count * 100 / missed:.0f} %)" for cause, count in causes)


def all_kept(kept: Kept) -> Iterator[tuple[CollectorId, Gap]]:
    """Yields the gaps that a file holds, and those that lasted when its process was last alive."""
    for record in kept.records:
        for gap in record.gaps:
            yield record.collector, gap
        if record.away is not None and record.away.cause is not Absence.CONFIG:
            away = replace(record.away, seconds=dict(record.away.seconds))
            away.spend((kept.alive_ns - away.since_ns) / _NS)
            if (lasting := gap_of(away, record.hz)) is not None:
                yield record.collector, lasting


def _largest_first(gap: Gap) -> list[tuple[str, int]]:
    return sorted(gap.missing.items(), key=lambda each: -each[1])
