"""`make bench-sync` compares the speed of sync with the builtin's, in the real viam-server, over various links.

It prints a table; a run of all measures of one of `PARTS` at full length writes it, with a chart, into docs/. All
figures are ratios within the run, or times that depend on the link. So other programs may use the machine, but a
quiet one gives better figures.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from . import report
from .capture import build_viam_server
from .report import Row
from .sync_links import share, windows
from .sync_proxies import proxies
from .sync_rates import QUICK, Scale, drains, large
from .sync_side import ROOT, say
from .sync_waits import behind, recovery

Measure = Callable[[Path, Path, Scale], Awaitable[list[Row]]]

MEASURES: dict[str, Measure] = {
    "drain": drains,
    "large": large,
    "share": share,
    "windows": windows,
    "behind": behind,
    "recovery": recovery,
    "proxy": proxies,
}
PARTS = {
    "sync": ["drain", "large", "share", "windows", "behind", "recovery"],
    "proxy": ["proxy"],
}
"""The measures whose figures stand in one table of the docs. The second needs root, microsocks and tinyproxy."""


async def main(binary: Path) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS["sync"]), help=f"some of {', '.join(MEASURES)}")
    parser.add_argument("--rounds", type=int, default=Scale.rounds)
    parser.add_argument("--quick", action="store_true", help="a quarter of the data, one round, nothing is written")
    arguments = parser.parse_args()
    chosen = [name.strip() for name in arguments.only.split(",")]
    if unknown := [name for name in chosen if name not in MEASURES]:
        parser.error(f"no such measure: {', '.join(unknown)}")
    scale = QUICK if arguments.quick else replace(Scale(), rounds=arguments.rounds)
    ourselves = asyncio.current_task()
    assert ourselves is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ourselves.cancel)  # ends all that was started
    rows: list[Row] = []
    began_s = time.monotonic()
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="hf-bench-") as folder:
            rows += await MEASURES[name](binary, Path(folder), scale)
    say(f"\n{report.table(rows)}\n\n{report.machine()}; {time.monotonic() - began_s:.0f} s")
    for part, names in PARTS.items():
        if chosen == names and not arguments.quick:
            report.write(ROOT / "docs", part, rows, f"{scale.rounds} rounds, medians")


if __name__ == "__main__":
    asyncio.run(main(build_viam_server()))
