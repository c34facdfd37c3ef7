"""`LocalCloud` stands in for Viam's cloud on this computer: it accepts uploads, serves viam-server's config, and
fails on demand.

It serves AuthService, DataSyncService, DataService.CreateSequence, and the part of RobotService that a real
viam-server needs to run. Every method except Authenticate requires the token that Authenticate returned.

Invariants:
- An upload is answered with OK only after all of it is in `folder` (see `received`). A refused or cut upload leaves
  nothing there.
- The counters count what was accepted; `calls` counts every call, including refused ones.
- An instance that is stopped and started again keeps its address, tokens and counters, as after an outage.
- Plaintext HTTP/2 is served on 127.0.0.1 only.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from viam.proto.app.data import CreateSequenceRequest, CreateSequenceResponse
from viam.proto.app.datasync import (
    DataCaptureUploadRequest,
    DataCaptureUploadResponse,
    FileUploadRequest,
    FileUploadResponse,
    SensorData,
    SensorMetadata,
    StreamingDataCaptureUploadRequest,
    StreamingDataCaptureUploadResponse,
    UploadMetadata,
)
from viam.proto.app.robot import ConfigResponse, LogResponse, NeedsRestartResponse, RobotConfig
from viam.proto.rpc.auth import AuthenticateRequest, AuthenticateResponse

from demo.logins import Logins
from demo.machine_config import MachineConfig, robot_config
from demo.received import IncomingFile, Received

RESTART_CHECK_INTERVAL_S = 5
DEFAULT_API_KEYS = {"demo-key-id": "demo-key"}
UPLOADS = ("DataCaptureUpload", "FileUpload", "StreamingDataCaptureUpload", "CreateSequence")

if TYPE_CHECKING:  # generic in their stubs only
    Context = grpc.aio.ServicerContext[bytes, bytes]
    Handler = grpc.RpcMethodHandler[Any, Any]
Unary = Callable[[bytes], bytes]
Stream = Callable[[bytes, AsyncIterator[bytes], IncomingFile], Awaitable[bytes]]


@dataclass
class _Fault:
    """The next `count` calls of one method, or of any upload, are answered with `code`."""

    code: grpc.StatusCode
    count: int
    method: str | None

    def meets(self, method: str) -> bool:
        return method == self.method if self.method else method in UPLOADS


class _InvalidUpload(Exception):
    """The client sent something that the protocol does not allow."""


class LocalCloud:
    """A cloud with one machine. Thread: all calls must come from one event loop.

    `fail_while(method, request)` is called for each call that has a valid token (Authenticate needs none) and that
    `fail_next` does not answer. It gets the method's short name and the raw request; for a stream, that is the
    first message, or None if there is none. A status code that it returns is the answer.
    `before_answer` is awaited by uploads after everything is stored and before the client gets its answer.
    `on_reading` is called for each accepted reading, including binary ones; the reading of a streamed payload comes
    without the payload. `on_payload` is called before it, with the path of each accepted payload, and `on_file`
    with the path of each accepted arbitrary file.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        tls: tuple[bytes, bytes] | None = None,
        part_id: str = "demo-part",
        api_keys: Mapping[str, str] | None = None,
        max_message_bytes: int = 32 * 1024 * 1024,
        on_reading: Callable[[UploadMetadata, SensorData], None] | None = None,
        on_file: Callable[[UploadMetadata, Path], None] | None = None,
        on_payload: Callable[[UploadMetadata, SensorMetadata, Path], None] | None = None,
    ) -> None:
        """`tls` is (certificate chain, private key) in PEM. `api_keys` maps key id to key; None accepts every
        login."""
        self.calls: Counter[str] = Counter()
        self.readings_count = 0
        self.files_count = 0
        self.bytes_count = 0
        self.fail_while: Callable[[str, bytes | None], grpc.StatusCode | None] | None = None
        self.before_answer: Callable[[], Awaitable[object]] | None = None
        self.part_id = part_id
        self._received = Received(folder)
        self._port = port
        self._tls = tls
        self._api_keys = api_keys
        self._max_message_bytes = max_message_bytes
        self._on_reading = on_reading
        self._on_file = on_file
        self._on_payload = on_payload
        self._logins = Logins(api_keys)
        self._faults: list[_Fault] = []
        self._machine: RobotConfig
        self._server: grpc.aio.Server | None = None
        self.set_machine_config({})

    @property
    def address(self) -> str:
        """The URL at which clients find the cloud; known after the first start."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def machine_file(self) -> dict[str, Any]:
        """The content of the local config file that makes a viam-server this cloud's machine."""
        return {
            "cloud": {
                "id": self.part_id,
                "secret": "demo-secret",
                "app_address": self.address,
                "signaling_insecure": True,
                "refresh_interval": "1s",
            }
        }

    def set_machine_config(self, machine: MachineConfig) -> None:
        """Replaces the config that viam-server gets from its next poll on.

        Raises ValueError for unknown keys.
        """
        keys = DEFAULT_API_KEYS if self._api_keys is None else self._api_keys
        self._machine = robot_config(machine, part_id=self.part_id, api_keys=keys)

    def revoke_tokens(self) -> None:
        """Makes all tokens invalid, so that every client has to log in again."""
        self._logins.revoke_all()

    def fail_next(self, code: grpc.StatusCode, count: int = 1, method: str | None = None) -> None:
        """Answers the next `count` calls of `method` (a short name; None: any upload) with `code`."""
        self._faults.append(_Fault(code, count, method))

    async def start(self) -> None:
        """Starts to listen. Raises RuntimeError if a fixed port is taken."""
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._max_message_bytes),
                # With port reuse, a second cloud on the same port would silently get half of the calls.
                ("grpc.so_reuseport", 0),
                # viam-server pings idle connections every 10 s; grpc's default is to close them for it.
                ("grpc.http2.min_ping_interval_without_data_ms", 5000),
                # Its own pings, which measure how much the link carries, would give up a slow one after a minute.
                ("grpc.http2.bdp_probe", 0),
            ]
        )
        server.add_generic_rpc_handlers(self._handlers())
        address = f"127.0.0.1:{self._port}"
        if self._tls:
            certificate, key = self._tls
            credentials = grpc.ssl_server_credentials([(key, certificate)])
            self._port = server.add_secure_port(address, credentials)
        else:
            self._port = server.add_insecure_port(address)
        await server.start()
        self._server = server

    async def stop(self, grace_s: float = 0) -> None:
        """Refuses new calls, and cuts running ones after `grace_s`. Does nothing when the cloud is not running."""
        server, self._server = self._server, None
        if server:
            await server.stop(grace_s)

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        services: dict[str, dict[str, Handler]] = {
            "proto.rpc.v1.AuthService": {
                "Authenticate": grpc.unary_unary_rpc_method_handler(self._authenticate),
            },
            "viam.app.datasync.v1.DataSyncService": {
                "DataCaptureUpload": self._unary("DataCaptureUpload", self._capture_upload),
                "FileUpload": self._stream("FileUpload", self._file_upload),
                "StreamingDataCaptureUpload": self._stream(
                    "StreamingDataCaptureUpload", self._streaming_capture_upload
                ),
            },
            "viam.app.data.v1.DataService": {
                "CreateSequence": self._unary("CreateSequence", self._create_sequence),
            },
            "viam.app.v1.RobotService": {
                "Config": self._unary("Config", self._config),
                "Log": self._unary("Log", lambda _: LogResponse().SerializeToString()),
                "NeedsRestart": self._unary("NeedsRestart", self._needs_restart),
            },
        }
        return tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items())

    def _unary(self, method: str, answer: Unary) -> Handler:
        async def handle(request: bytes, context: Context) -> bytes:
            await self._admit(method, request, context)
            try:
                response = answer(request)
            except (DecodeError, _InvalidUpload) as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            return await self._before_answer(method, response)

        return grpc.unary_unary_rpc_method_handler(handle)

    def _stream(self, method: str, take: Stream) -> Handler:
        async def handle(stream: AsyncIterator[bytes], context: Context) -> bytes:
            requests = _complete(stream, context)
            first = await anext(requests, None)
            await self._admit(method, first, context)
            try:
                with self._received.begin() as incoming:
                    response = await take(first or b"", requests, incoming)
            except (DecodeError, _InvalidUpload) as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            return await self._before_answer(method, response)

        return grpc.stream_unary_rpc_method_handler(handle)

    async def _before_answer(self, method: str, response: bytes) -> bytes:
        if self.before_answer and method in UPLOADS:
            await self.before_answer()
        return response

    async def _admit(self, method: str, request: bytes | None, context: Context) -> None:
        """Counts the call; aborts it if it has no valid token or a fault is due."""
        self.calls[method] += 1
        metadata = dict(context.invocation_metadata() or ())
        if method != "Authenticate" and not self._logins.knows(str(metadata.get("authorization", ""))):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no valid token: authenticate first")
        code = self._due_fault(method) or (self.fail_while and self.fail_while(method, request))
        if code:
            await context.abort(code, f"{method} fails on demand")

    def _due_fault(self, method: str) -> grpc.StatusCode | None:
        fault = next((fault for fault in self._faults if fault.count > 0 and fault.meets(method)), None)
        if not fault:
            return None
        fault.count -= 1
        self._faults = [fault for fault in self._faults if fault.count > 0]
        return fault.code

    async def _authenticate(self, request: bytes, context: Context) -> bytes:
        await self._admit("Authenticate", request, context)
        asked = AuthenticateRequest.FromString(request)
        token = self._logins.log_in(asked)
        if not token:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"unknown key or entity {asked.entity!r}")
        return AuthenticateResponse(access_token=token).SerializeToString()

    def _config(self, _: bytes) -> bytes:
        return ConfigResponse(config=self._machine).SerializeToString()

    def _needs_restart(self, _: bytes) -> bytes:
        response = NeedsRestartResponse(id=self.part_id, must_restart=False)
        response.restart_check_interval.FromSeconds(RESTART_CHECK_INTERVAL_S)
        return response.SerializeToString()

    def _create_sequence(self, request: bytes) -> bytes:
        sequence = CreateSequenceRequest.FromString(request)
        self._received.add_sequence(MessageToDict(sequence, preserving_proto_field_name=True))
        return CreateSequenceResponse(id=uuid.uuid4().hex).SerializeToString()

    def _capture_upload(self, request: bytes) -> bytes:
        upload = DataCaptureUploadRequest.FromString(request)
        binary = [reading for reading in upload.sensor_contents if reading.WhichOneof("data") == "binary"]
        if binary and len(binary) < len(upload.sensor_contents):
            raise _InvalidUpload("one call has tabular and binary readings")
        for reading in binary:
            with self._received.begin() as incoming:
                incoming.write(reading.binary)
                self._add_payload(upload.metadata, reading.metadata, incoming)
        if not binary:
            self._received.add_tabular(upload.metadata, upload.sensor_contents)
        for reading in upload.sensor_contents:
            self._count_reading(upload.metadata, reading)
        self.bytes_count += len(request)
        file_id = uuid.uuid4().hex
        return DataCaptureUploadResponse(file_id=file_id, binary_data_id=file_id).SerializeToString()

    async def _streaming_capture_upload(
        self, first: bytes, requests: AsyncIterator[bytes], incoming: IncomingFile
    ) -> bytes:
        head = StreamingDataCaptureUploadRequest.FromString(first)
        if not head.HasField("metadata"):
            raise _InvalidUpload("the first message of the stream is not the metadata")
        async for request in requests:
            incoming.write(StreamingDataCaptureUploadRequest.FromString(request).data)
        metadata, sensor = head.metadata.upload_metadata, head.metadata.sensor_metadata
        self._add_payload(metadata, sensor, incoming)
        self._count_reading(metadata, SensorData(metadata=sensor))
        self.bytes_count += incoming.size_bytes
        file_id = uuid.uuid4().hex
        return StreamingDataCaptureUploadResponse(file_id=file_id, binary_data_id=file_id).SerializeToString()

    async def _file_upload(self, first: bytes, requests: AsyncIterator[bytes], incoming: IncomingFile) -> bytes:
        head = FileUploadRequest.FromString(first)
        if not head.HasField("metadata"):
            raise _InvalidUpload("the first message of the stream is not the metadata")
        async for request in requests:
            incoming.write(FileUploadRequest.FromString(request).file_contents.data)
        path = self._received.add_file(head.metadata, incoming)
        self.files_count += 1
        self.bytes_count += incoming.size_bytes
        if self._on_file:
            self._on_file(head.metadata, path)
        return FileUploadResponse(binary_data_id=uuid.uuid4().hex).SerializeToString()

    def _add_payload(self, metadata: UploadMetadata, sensor: SensorMetadata, incoming: IncomingFile) -> None:
        path = self._received.add_payload(metadata, sensor, incoming)
        if self._on_payload:
            self._on_payload(metadata, sensor, path)

    def _count_reading(self, metadata: UploadMetadata, reading: SensorData) -> None:
        self.readings_count += 1
        if self._on_reading:
            self._on_reading(metadata, reading)


async def _complete(stream: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    """Yields the messages of a stream; ends only if the client ended it.

    Raises if the stream was cut or cancelled: grpc ends the iteration of a cut stream like that of a complete one,
    and cancels the handler a moment later. Sending something waits for that moment, since it never succeeds on a
    cut stream.
    """
    async for request in stream:
        yield request
    await context.send_initial_metadata(())
