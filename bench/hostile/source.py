"""This program is the machine's socket: well-behaved sensors, and hostile components.

`python -m bench.hostile.source SOCKET FOLDER SEED NAME…` serves the sensors `good-0`, `good-1`, … and the hostile
resources `NAME…` (full names) on a unix socket, and prints "ready". The good sensors are answered here, with bytes
that never change, so that they cost little. Hostile answers take long to make, so they come from a process of their
own, `bench.hostile.answers`, one after the other.

FOLDER gets `SERVED`, with the number of answers of each good sensor so far, and `log`, the module's log.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from viam.proto.common import GetReadingsResponse, ResourceName
from viam.proto.robot import (
    GetCloudMetadataResponse,
    GetVersionResponse,
    LogRequest,
    LogResponse,
    ResourceNamesResponse,
)
from viam.utils import sensor_readings_native_to_value

from .answers import MAX_MESSAGE_BYTES, NEXT, Answer

GOOD = "good-"
STEERING = "steering"
_STEERS_EVERY_S = 1.0
"""The control sensor is asked ten times a second, which is more answers than can be made."""
SERVED = "served.json"
_SERVED_EVERY_S = 0.5
_ROBOT = "/viam.robot.v1.RobotService/"
_READINGS = "/viam.component.sensor.v1.SensorService/GetReadings"
_STREAMED = ("/viam.component.audioin.v1.AudioInService/GetAudio",)
_MOST_LOG_BYTES = 50 << 20
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]

if TYPE_CHECKING:  # generic in their stubs only
    Context = grpc.aio.ServicerContext[bytes, bytes]
    Handler = grpc.RpcMethodHandler[bytes, bytes]


class Source(grpc.GenericRpcHandler):
    """Answers every method of every resource."""

    def __init__(self, folder: Path, answers: grpc.aio.Channel, names: list[str]) -> None:
        self.served: Counter[str] = Counter()
        self._log = (folder / "log").open("ab", buffering=0)
        self._next: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = answers.unary_unary(NEXT)
        numbers = sensor_readings_native_to_value({"seq": 12345.0, "half": 0.5, "text": "a usual reading"})
        self._reading = GetReadingsResponse(readings=numbers).SerializeToString()
        self._robot = {
            "ResourceNames": ResourceNamesResponse(resources=map(_resource_name, names)).SerializeToString(),
            "GetVersion": GetVersionResponse(platform="rdk", version="1.4.0").SerializeToString(),
            "GetCloudMetadata": GetCloudMetadataResponse(machine_part_id="part").SerializeToString(),
        }

    def service(self, details: grpc.HandlerCallDetails) -> Handler | None:
        method = details.method

        async def unary(request: bytes, context: Context) -> bytes:
            if method == _READINGS and GOOD.encode() in request[:40]:
                self.served[request[2 : 2 + request[1]].decode()] += 1
                return self._reading
            if method.startswith(_ROBOT):
                return await self._robot_answer(method.removeprefix(_ROBOT), request, context)
            if STEERING.encode() in request[:40]:
                await asyncio.sleep(_STEERS_EVERY_S)
            answer = await self._hostile(method, context)
            return answer.messages[-1] if answer.messages else b""

        async def stream(request: bytes, context: Context) -> AsyncIterator[bytes]:
            for message in (await self._hostile(method, context)).messages:
                yield message

        if method in _STREAMED:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)

    async def _hostile(self, method: str, context: Context) -> Answer:
        answer: Answer = pickle.loads(await self._next(method.encode()))
        if answer.code:
            code = next(code for code in grpc.StatusCode if code.value[0] == answer.code)
            await context.abort(code, answer.details)
        return answer

    async def _robot_answer(self, method: str, request: bytes, context: Context) -> bytes:
        if method == "Log":
            for entry in LogRequest.FromString(request).logs:
                if self._log.tell() < _MOST_LOG_BYTES:
                    line = f"{entry.time.ToJsonString()} {entry.level} {entry.logger_name} {entry.message}\n"
                    self._log.write(line.encode())
            return LogResponse().SerializeToString()
        if method not in self._robot:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, method)
        return self._robot[method]


def _resource_name(full_name: str) -> ResourceName:
    api, _, name = full_name.rpartition("/")
    namespace, kind, subtype = api.split(":")
    return ResourceName(namespace=namespace, type=kind, subtype=subtype, name=name)


async def main(socket: str, folder: Path, seed: str, names: list[str]) -> None:
    behind = f"{socket}.answers"
    program = ("bench.hostile.answers", behind, str(folder), seed)
    maker = await asyncio.create_subprocess_exec(sys.executable, "-m", *program, stdout=subprocess.PIPE)
    assert maker.stdout is not None
    await maker.stdout.readline()
    server = grpc.aio.server(options=OPTIONS)
    source = Source(folder, grpc.aio.insecure_channel(f"unix:{behind}", options=OPTIONS), names)
    server.add_generic_rpc_handlers((source,))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    print("ready", flush=True)
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    while not ending.is_set():
        (folder / f"{SERVED}.new").write_text(json.dumps(source.served))
        (folder / f"{SERVED}.new").rename(folder / SERVED)  # whoever reads it finds it whole
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ending.wait(), _SERVED_EVERY_S)
    maker.kill()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4:]))
