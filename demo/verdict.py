"""`compare` holds what the inputs produced against what arrived, by their own ledgers and the cloud's files."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KILL_SLACK_NS = 100_000_000
"""The most time between the reading of the clock for a kill and the death of the process."""


@dataclass
class Verdict:
    """What arrived, and what did not.

    `lost_to_kill` are the numbers of readings that a SIGKILL may cost: those of the last flush interval before it.
    Everything else that did not arrive is missing.
    """

    served: int = 0
    arrived: int = 0
    lost_to_kill: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    invented: list[int] = field(default_factory=list)
    twice: int = 0
    files_written: int = 0
    files_arrived: int = 0
    files_missing: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.missing or self.invented or self.files_missing)

    def said(self, flush_s: float) -> str:
        """Returns in words what is missing, and why. A kill may cost what was read in the last `flush_s`."""
        found = []
        if self.lost_to_kill:
            found.append(
                f"Lost to SIGKILL: {_readings(self.lost_to_kill)}. The module had them in its memory, where what "
                f"was read in the last {flush_s:g} s may be (capture_flush_interval_ms)."
            )
        if self.missing:
            found.append(f"MISSING WITHOUT A REASON: {_readings(self.missing)}.")
        if self.files_missing:
            found.append(f"FILES THAT ARE MISSING: {', '.join(self.files_missing)}.")
        if self.invented:
            found.append(f"ARRIVED, BUT NEVER PRODUCED: {_readings(self.invented)}.")
        if not found:
            return "Nothing is missing."
        return " ".join([*found, "Everything else arrived."])


def compare(
    sensor_ledger: Path,
    arrived_readings: Path,
    file_ledger: Path,
    arrived_files: Path,
    kills_ns: list[int],
    flush_s: float,
) -> Verdict:
    """Compares the ledgers with the cloud's JSON lines: those of the sensor's readings, and those of its files.

    `kills_ns` are the times of the kills, by the wall clock.
    """
    verdict = Verdict()
    with sensor_ledger.open(newline="") as ledger:
        served = {int(row["seq"]): int(row["unix_time_ns"]) for row in csv.DictReader(ledger)}
    arrived = Counter(int(row["data"]["readings"]["seq"]) for row in _rows(arrived_readings))
    verdict.served, verdict.arrived = len(served), len(arrived)
    verdict.twice = sum(arrived.values()) - len(arrived)
    verdict.invented = sorted(set(arrived) - set(served))
    for seq in sorted(set(served) - set(arrived)):
        near_kill = any(
            kill - flush_s * 1e9 - KILL_SLACK_NS <= served[seq] <= kill + KILL_SLACK_NS for kill in kills_ns
        )
        (verdict.lost_to_kill if near_kill else verdict.missing).append(seq)
    received = {(Path(row["file_name"]).name, row["sha256"]) for row in _rows(arrived_files)}
    for row in _rows(file_ledger):
        verdict.files_written += 1
        if (row["name"], row["sha256"]) in received:
            verdict.files_arrived += 1
        else:
            verdict.files_missing.append(row["name"])
    return verdict


def _readings(numbers: list[int]) -> str:
    """Returns how many readings these are, and their numbers, with those that follow each other as one range."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    named = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges)
    return f"{len(numbers)} reading{'' if len(numbers) == 1 else 's'} (seq {named})"


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
