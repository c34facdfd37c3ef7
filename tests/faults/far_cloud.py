"""A cloud in a network namespace of its own, for `networks`: `python -m tests.faults.far_cloud FOLDER`.

It listens at port 443 of all addresses of the namespace. Prints `ready` when it does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from demo.cloud import LocalCloud
from tests.relay import relay


async def main(folder: Path) -> None:
    cloud = LocalCloud(folder, api_keys={"id": "key"})
    await cloud.start()
    port = int(cloud.address.rpartition(":")[2])
    # the cloud itself is at 127.0.0.1 only
    async with await asyncio.start_server(relay(port), ["0.0.0.0", "::"], 443):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
