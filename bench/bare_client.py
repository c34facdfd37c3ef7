"""This program is the bare minimum: it makes grpcio.aio calls at the deadlines of some sensors and discards the
answers.

`python -m bench.bare_client SOCKET HZ SECONDS NAME…` prints JSON: the calls that succeeded, the calls that were
due, and the CPU seconds that they cost this process. Calls that are due together are sent together, as in the
module.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import grpc.aio
from viam.proto.common import GetReadingsRequest

METHOD = "/viam.component.sensor.v1.SensorService/GetReadings"


async def main(socket: str, hz: float, seconds: float, names: list[str]) -> None:
    channel = grpc.aio.insecure_channel(f"unix:{socket}", options=[("grpc.enable_retries", 0)])
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
    requests = [GetReadingsRequest(name=name).SerializeToString() for name in names]
    sensors = len(names)
    answered = 0
    busy = [False] * sensors

    async def one(index: int) -> None:
        nonlocal answered
        try:
            await call(requests[index], timeout=5)
            answered += 1
        finally:
            busy[index] = False

    await asyncio.gather(*(one(i) for i in range(sensors)))
    answered = 0
    cpu, start = time.process_time(), time.monotonic()
    ticks = int(seconds * hz)
    tasks: set[asyncio.Task[None]] = set()
    for tick in range(ticks):
        await asyncio.sleep(max(0.0, start + tick / hz - time.monotonic()))
        for index in range(sensors):
            if not busy[index]:
                busy[index] = True
                task = asyncio.create_task(one(index))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    print(json.dumps({"calls": answered, "due": ticks * sensors, "cpu_s": time.process_time() - cpu}))
    await channel.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
