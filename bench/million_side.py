"""The process that `bench.million` measures: the module's engine without viam-server. `ATTRIBUTES` are JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.config import parse
from holdfast.manager import Manager, Resources


async def main(attributes: str) -> None:
    environment = dict(os.environ)
    manager = Manager(environment, FileSystem(), SystemClock())
    print(time.monotonic(), flush=True)
    manager.apply(parse(json.loads(attributes), environment), Resources())
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
