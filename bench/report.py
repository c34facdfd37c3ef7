"""This module presents results as a table, as a part of docs/benchmarks.md, and as a chart in SVG."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import psutil

_BAR_PX, _LABEL_PX, _ROW_PX, _WIDTH_PX = 300, 400, 26, 860


@dataclass(frozen=True)
class Row:
    """One figure and its aim. `at_most` says on which side of it the figure should be. No aim: it is only shown."""

    name: str
    value: float
    unit: str
    aim: float | None = None
    at_most: bool = True
    rounds: Sequence[float] = ()
    note: str = ""
    """A text that follows the figure."""

    @property
    def met(self) -> bool | None:
        if self.aim is None:
            return None
        return self.value <= self.aim if self.at_most else self.value >= self.aim

    @property
    def cells(self) -> tuple[str, str, str, str]:
        aim = "" if self.aim is None else f"{'≤' if self.at_most else '≥'} {self.aim:g}{self.unit}"
        verdict = {True: "met", False: "**missed**", None: ""}[self.met]
        spread = f" ({min(self.rounds):.4g}–{max(self.rounds):.4g})" if len(self.rounds) > 1 else ""
        note = f": {self.note}" if self.note else ""
        return self.name, f"{self.value:.4g}{self.unit}{spread}{note}", aim, verdict


def machine() -> str:
    """Describes the computer on which the bench ran."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*: (.+)", cpuinfo.read_text())
        model = found[1] if found else model
    return (
        f"{model}, {psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def table(rows: Sequence[Row]) -> str:
    lines = ["| what | measured (range of the rounds) | aim | |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row.cells)} |" for row in rows)])


def write(folder: Path, part: str, rows: Sequence[Row], how: str) -> None:
    """Puts the figures into their part of `folder`/benchmarks.md, between its marks, and a chart of those with an
    aim, if there are any, beside the page.

    Raises ValueError unless the page has exactly one place for them.
    """
    page = folder / "benchmarks.md"
    marks = re.compile(rf"(<!-- measured: {part} -->\n).*?(<!-- end -->)", re.DOTALL)
    figures = f"{table(rows)}\n\n{machine()}; {how}.\n"
    text, found = marks.subn(lambda found: found[1] + figures + found[2], page.read_text())
    if found != 1:
        raise ValueError(f"{page} has {found} places for the figures of {part}, it needs exactly one")
    page.write_text(text)
    if with_aim := [row for row in rows if row.aim is not None]:
        (folder / f"benchmarks-{part}.svg").write_text(chart(with_aim))


def chart(rows: Sequence[Row]) -> str:
    """Draws one bar for each row: the figure as a share of its aim. The aim is one line across all bars."""
    height_px = _ROW_PX * (len(rows) + 1)
    aim_px, foot_px = _LABEL_PX + _BAR_PX * 0.8, _ROW_PX * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH_PX} {height_px}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{_WIDTH_PX}" height="{height_px}" fill="#fff"/>',
    ]
    for number, row in enumerate(rows):
        top_px = _ROW_PX * number + 4
        length_px = max(1.0, min(row.value / (row.aim or 1.0) * 0.8, 1.0) * _BAR_PX)
        color = "#3a7d44" if row.met else "#b23a48"
        parts += [
            f'<text x="{_LABEL_PX - 8}" y="{top_px + 14}" text-anchor="end">{escape(row.name)}</text>',
            f'<rect x="{_LABEL_PX}" y="{top_px}" width="{length_px:.1f}" height="{_ROW_PX - 8}" fill="{color}"/>',
            f'<text x="{_LABEL_PX + _BAR_PX + 8}" y="{top_px + 14}">{escape(" · ".join(row.cells[1:3]))}</text>',
        ]
    parts += [
        f'<line x1="{aim_px}" y1="0" x2="{aim_px}" y2="{foot_px}" stroke="#222" stroke-dasharray="4 3"/>',
        f'<text x="{aim_px}" y="{height_px - 8}" text-anchor="middle">the aim</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
