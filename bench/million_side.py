"""This program is what `bench.million` measures: the module's engine without viam-server.

`python -m bench.million_side ATTRIBUTES` takes the service's attributes as JSON. It prints the monotonic time at
which it begins, then how many files wait, as soon as it knows that, and runs until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.config import Host, parse
from holdfast.manager import Manager, Resources


async def main(attributes: str) -> None:
    environment = dict(os.environ)
    manager = Manager(environment, FileSystem(), SystemClock())
    print(time.monotonic(), flush=True)
    manager.apply(parse(json.loads(attributes), Host.of(environment)), Resources())
    assert manager.engine is not None
    while (waiting := manager.engine.uplink.rounds.backlog.waiting) is None:  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(0.1)
    print(waiting.files, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
