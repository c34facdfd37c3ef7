"""The module's program: `main.py <socket> [--log-level=…] [--tcp-mode]`, as viam-server starts it.

Without a socket it is the program `holdfast`, as `main.py config …`, for machines that have the module only.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from grpclib.metadata import Deadline
from viam.logging import getLogger
from viam.module.module import Module
from viam.proto.common import ResourceName
from viam.proto.module import (
    AddResourceRequest,
    ReadyRequest,
    ReadyResponse,
    ValidateConfigRequest,
    ValidateConfigResponse,
)
from viam.resource.base import ResourceBase
from viam.resource.types import API, resource_name_from_string

from holdfast.base.log_limit import LogLimit
from module import durable, event_loop, parent


class HoldfastModule(Module):
    """The SDK's module, but for dependencies, which are names here, for what is added twice, and for its end."""

    async def ready(self, request: ReadyRequest) -> ReadyResponse:
        durable.PROCESS.set_parent(request.parent_address)
        return await super().ready(request)

    async def _get_dependencies(self, dependencies: Sequence[str]) -> Mapping[ResourceName, ResourceBase]:
        """Names only: the SDK would make a client of each by calls of its own, and fail for APIs it lacks."""
        return {resource_name_from_string(name): None for name in dependencies}  # type: ignore[misc]

    async def add_resource(self, request: AddResourceRequest, *, deadline: Deadline | None = None) -> None:
        """As the SDK's, but a service that is here already gives way to the new one.

        When its config changes while viam-server restarts a module that crashed, viam-server adds a resource twice
        without removing it between. Refused, it would try that again each five seconds for ever, and leave the
        resource without a status, commands and further changes.
        """
        api = API.from_string(request.config.api)
        name = ResourceName(
            namespace=api.namespace, type=api.resource_type, subtype=api.resource_subtype, name=request.config.name
        )
        if name in self.server.resources:
            await self.server.remove_resource(name)
        await super().add_resource(request, deadline=deadline)

    async def validate_config(self, request: ValidateConfigRequest) -> ValidateConfigResponse:
        """As the SDK's, with the message of the error alone."""
        required, optional = durable.validate(request.config)
        return ValidateConfigResponse(dependencies=required, optional_dependencies=optional)

    async def stop(self) -> None:
        """At the end of the process, however it comes: all files are complete before the logger goes.

        viam-server sends SIGTERM again after 3.3 s and SIGKILL after 10: the second must not cut this off.
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        await durable.PROCESS.end()
        await super().stop()  # type: ignore[no-untyped-call]


def _allow_many_open_files() -> None:
    """Each collector has a file open; the usual soft limit of 1,024 is too low for many of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _limit_the_log() -> None:
    """What Holdfast says goes to the SDK's handlers, which it changes when it likes, by way of the limit."""
    sdk = getLogger("holdfast-log")
    sdk.setLevel(logging.DEBUG)
    sdk.propagate = False
    ours = logging.getLogger("holdfast")
    ours.setLevel(logging.DEBUG)
    ours.propagate = False
    ours.addHandler(LogLimit(sdk.handle))


async def _end_with_parent() -> None:
    """Waits until viam-server is gone, however it went; then completes all files and exits.

    The SDK would notice after ten seconds or more; a restarted viam-server has a second module by then. Nothing
    is left to be told to anybody, so the process ends without the SDK's farewells.
    """
    await parent.gone()
    await durable.PROCESS.end(in_a_hurry=True)
    os._exit(0)


async def main() -> None:
    gc.freeze()  # what was imported is never garbage: no collection need look at it again
    _allow_many_open_files()
    _limit_the_log()
    watch = asyncio.create_task(_end_with_parent())
    await HoldfastModule.from_args().start()  # type: ignore[no-untyped-call]
    watch.cancel()


def run() -> NoReturn:
    """The program. Its end does not wait for threads either, as Python's own would."""
    code = 0
    try:
        event_loop.run(main())
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    os._exit(code)


def _is_socket(argument: str) -> bool:
    """A path, or with TCP a host and a port. A person writes a word."""
    return "/" in argument or ":" in argument


if __name__ == "__main__":
    if not any(map(_is_socket, sys.argv[1:2])):
        from holdfast import cli

        sys.exit(cli.main())
    run()
