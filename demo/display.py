"""The demo's live display shows a table that is redrawn in place, and above it a line for each event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

_QUIET_LINE_EVERY_S = 5.0


@dataclass
class Snapshot:
    """What the display shows at one moment; `status` is the data manager's, or None while it does not answer."""

    elapsed_s: float
    network: str
    served: int
    served_per_s: float
    cloud_readings: int
    cloud_files: int
    written_files: int
    status: Mapping[str, Any] | None


class Display:
    """Shows a live table on a terminal, and elsewhere prints a line every few seconds."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live: Live | None = None
        self._last_line_s = float("-inf")

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """Prints a line about an event; it stays on the screen."""
        self._console.print(text, style=style or None)

    def show(self, snapshot: Snapshot) -> None:
        if self._live is not None:
            self._live.update(_table(snapshot))
        elif snapshot.elapsed_s - self._last_line_s >= _QUIET_LINE_EVERY_S:
            self._last_line_s = snapshot.elapsed_s
            self._console.print(
                f"{snapshot.elapsed_s:5.1f} s  served {snapshot.served}  on disk {_on_disk(snapshot)}  "
                f"arrived {snapshot.cloud_readings} readings, {snapshot.cloud_files} files  "
                f"link: {_link(snapshot)}"
            )

    def result(self, rows: list[tuple[str, str, str]], said: str, *, good: bool) -> None:
        table = Table(title="What was captured, and what arrived")
        for column in ("", "readings", "files"):
            table.add_column(column)
        for row in rows:
            table.add_row(*row)
        self._console.print(table)
        self._console.print(said, style="bold green" if good else "bold red")


def _table(snapshot: Snapshot) -> Group:
    table = Table.grid(padding=(0, 2))
    table.add_row("sensor", f"{snapshot.served} readings served", f"{snapshot.served_per_s:.0f} per second")
    table.add_row("folder", f"{snapshot.written_files} log files written", "")
    table.add_row("data manager", f"{_on_disk(snapshot)} readings on disk", _pending(snapshot))
    table.add_row("link", Text(_link(snapshot), "green" if _link(snapshot) == "up" else "yellow"), "")
    table.add_row("network", Text(snapshot.network, "green" if snapshot.network == "up" else "red"), "")
    table.add_row("cloud", f"{snapshot.cloud_readings} readings arrived", f"{snapshot.cloud_files} files arrived")
    return Group(Text(f"{snapshot.elapsed_s:5.1f} s", "bold"), table)


def _link(snapshot: Snapshot) -> str:
    if snapshot.status is None:
        return "the data manager does not answer"
    return str(snapshot.status.get("sync", {}).get("link", "starting"))


def _on_disk(snapshot: Snapshot) -> str:
    if snapshot.status is None:
        return "?"
    return f"{snapshot.status.get('readings', {}).get('on_disk', 0):.0f}"


def _pending(snapshot: Snapshot) -> str:
    sync = (snapshot.status or {}).get("sync", {})
    if "pending_files" not in sync:
        return "it is not known yet how many files wait"
    return f"{sync['pending_files']:.0f} files wait"
