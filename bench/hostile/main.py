"""`make bench-hostile` measures how long hostile components, callers and a hostile cloud hold the event loop.

The real module captures 20 good sensors at 100 Hz, and all else that it talks to is hostile: the answers that two
dozen collectors get, the requests of six callers, and half of what the cloud says. The longest holds are printed
with what the loop did in each, and with the inputs that were under way. What each side sends next depends on
`--seed` alone; what meets what depends on the machine.

The module, the source of the answers, and the cloud are processes of their own. See `watch` for what a hold is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import tempfile
from pathlib import Path

from ..report import machine, table, write
from .rig import ROOT, SIDES, Rig
from .summary import described, rows


async def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-hostile", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", choices=SIDES, help="the one side that is hostile; the others behave")
    parser.add_argument("--keep", type=Path, help="a new folder for what is written, which is kept")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    arguments = parser.parse_args()
    ourselves = asyncio.current_task()
    assert ourselves is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ourselves.cancel)  # ends all that was started
    with tempfile.TemporaryDirectory(prefix="hf-hostile-") as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        hostile = SIDES if arguments.only is None else (arguments.only,)
        found = await Rig(folder, arguments.seed, hostile=hostile).run(arguments.minutes * 60)
    figures = rows(found)
    how = f"seed {arguments.seed}, {arguments.minutes:g} minutes"
    print(f"{described(found)}\n\n{json.dumps(found.notes, indent=1)}\n\n{table(figures)}\n\n{machine()}; {how}")
    if arguments.write:
        write(ROOT / "docs", "hostile", figures, how)


if __name__ == "__main__":
    asyncio.run(main())
