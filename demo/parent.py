"""`Parent` is the socket through which a module calls its machine: the resources, and what the SDK asks a machine.

It stands in for viam-server's own socket, with the same services and error codes; the SDK's code serves each API.
The SDK's own Server is not used, because it takes over the process's signals and log level, and answers a module's
Log call with UNIMPLEMENTED.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from grpclib import GRPCError, Status
from grpclib.events import RecvRequest, listen
from grpclib.server import Server, Stream
from viam.errors import ViamGRPCError
from viam.proto.robot import (
    GetCloudMetadataRequest,
    GetCloudMetadataResponse,
    GetVersionRequest,
    GetVersionResponse,
    LogRequest,
    LogResponse,
)
from viam.resource.base import ResourceBase
from viam.resource.manager import ResourceManager
from viam.resource.registry import Registry
from viam.resource.rpc_service_base import ResourceRPCServiceBase
from viam.robot.service import RobotService

LogLine = Callable[[str], None]


class Parent:
    """Serves `resources` on a unix socket, and calls `on_log` with each log line of the module."""

    def __init__(self, resources: Sequence[ResourceBase], *, part_id: str, on_log: LogLine) -> None:
        self._manager = ResourceManager(list(resources))
        apis = Registry.REGISTERED_APIS().values()
        services = [api.rpc_service for api in apis if issubclass(api.rpc_service, ResourceRPCServiceBase)]
        self._server = Server(
            [_RobotService(self._manager, part_id, on_log), *(each(self._manager) for each in services)]
        )
        listen(self._server, RecvRequest, _translate_errors)

    async def start(self, socket_path: Path) -> None:
        await self._server.start(path=str(socket_path))

    async def stop(self) -> None:
        """Stops serving. The resources belong to the caller and are not closed."""
        self._server.close()
        await self._server.wait_closed()


class _RobotService(RobotService):
    def __init__(self, manager: ResourceManager, part_id: str, on_log: LogLine) -> None:
        super().__init__(manager)
        self._part_id = part_id
        self._on_log = on_log

    async def Log(self, stream: Stream[LogRequest, LogResponse]) -> None:
        request = await stream.recv_message()
        for entry in request.logs if request else ():
            time = entry.time.ToJsonString()
            self._on_log(f"{time} {entry.level.upper()} {entry.logger_name} {entry.message}")
        await stream.send_message(LogResponse())

    async def GetVersion(self, stream: Stream[GetVersionRequest, GetVersionResponse]) -> None:
        await stream.recv_message()
        await stream.send_message(GetVersionResponse(platform="rdk", version="1.4.0", api_version="v0.1.577"))

    async def GetCloudMetadata(self, stream: Stream[GetCloudMetadataRequest, GetCloudMetadataResponse]) -> None:
        await stream.recv_message()
        await stream.send_message(
            GetCloudMetadataResponse(
                primary_org_id="demo-org",
                location_id="demo-location",
                machine_id="demo-machine",
                machine_part_id=self._part_id,
            )
        )


async def _translate_errors(event: RecvRequest) -> None:
    """Answers with a resource's own error text, as viam-server does; grpclib would hide it in an internal error."""
    method = event.method_func

    async def call(stream: Stream[object, object]) -> None:
        try:
            await method(stream)
        except GRPCError:
            raise
        except ViamGRPCError as error:
            raise error.grpc_error from error
        except Exception as error:
            raise GRPCError(Status.UNKNOWN, str(error)) from error

    event.method_func = call
