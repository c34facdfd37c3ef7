"""This is the module's program, which viam-server starts as `main.py <socket> [--log-level=…] [--tcp-mode]`.

Without a socket it is the command line program `holdfast`, as in `main.py config …`, for machines that have only
the module.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from grpclib import GRPCError, Status
from grpclib.metadata import Deadline
from viam.logging import LOGGERS, getLogger
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

from holdfast.base.clock import let_time_never_fail
from holdfast.base.log_limit import LogLimit
from holdfast.base.tasks import begin, supervised
from module import allocator, durable, event_loop, parent, signals

logger = logging.getLogger("holdfast.module")


class HoldfastModule(Module):
    """The SDK's module, changed in six points.

    The address of viam-server's socket is kept for calls to the machine, dependencies are only names, a service may
    be added twice, an invalid config is answered with the error's message alone, signals do what `signals` says,
    and the end completes all files.
    """

    _ending = False

    async def serve(self, ending: frozenset[int]) -> None:
        """Serves until one of the signals `ending` comes, and then stops, see `stop`."""
        serving = asyncio.create_task(self.start())  # type: ignore[no-untyped-call]

        def end(name: str) -> None:
            logger.info("%s came: the module completes all files and ends", name)
            serving.cancel()

        signals.when_ending(ending, asyncio.get_running_loop(), end)
        with suppress(asyncio.CancelledError):
            await serving

    async def ready(self, request: ReadyRequest) -> ReadyResponse:
        durable.PROCESS.set_parent(request.parent_address)
        return await super().ready(request)

    async def _get_dependencies(self, dependencies: Sequence[str]) -> Mapping[ResourceName, ResourceBase]:
        """Returns names only: the SDK would create a client of each, by calls, and fail for APIs that it lacks."""
        return {resource_name_from_string(name): None for name in dependencies}  # type: ignore[misc]

    async def add_resource(self, request: AddResourceRequest, *, deadline: Deadline | None = None) -> None:
        """Adds a resource like the SDK, but a service that exists already gives way to the new one.

        When a config changes while viam-server restarts a module that crashed, viam-server adds a resource twice,
        without removing it in between. If that were refused, viam-server would repeat it every five seconds without
        end, and the resource would have no status, no commands and no further changes.
        """
        if self._ending:
            raise GRPCError(Status.UNAVAILABLE, "the module is ending")
        api = API.from_string(request.config.api)
        name = ResourceName(
            namespace=api.namespace, type=api.resource_type, subtype=api.resource_subtype, name=request.config.name
        )
        await durable.PROCESS.move_out(request.config)
        await durable.PROCESS.adopt(request.config)
        if name in self.server.resources:
            await self.server.remove_resource(name)
        await super().add_resource(request, deadline=deadline)

    async def validate_config(self, request: ValidateConfigRequest) -> ValidateConfigResponse:
        """Validates like the SDK, but answers an invalid config with the error's message alone."""
        await durable.PROCESS.adopt(request.config)
        required, optional = durable.validate(request.config)
        return ValidateConfigResponse(dependencies=required, optional_dependencies=optional)

    async def stop(self) -> None:
        """Completes all files, and then stops the server and the logger. Called whenever the process ends in order.

        viam-server sends SIGTERM again after 3.3 s and SIGKILL after 10 s.
        """
        self._ending = True
        await durable.PROCESS.end()
        await super().stop()  # type: ignore[no-untyped-call]


def _allow_many_open_files() -> None:
    """Raises the limit of open files: each collector needs one, and the usual 1,024 are too few for many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _limit_the_log() -> None:
    """Sends Holdfast's log lines through the limit to the SDK's handlers, which the SDK may change at any time.

    Call it once the SDK's module exists: the SDK names a logger after the module in the machine's config, and
    replaces the handlers of every logger that it has named. One in "holdfast" is taken back from it.
    """
    for name in [name for name in LOGGERS if name.partition(".")[0] == "holdfast"]:
        taken_back = LOGGERS.pop(name)
        taken_back.handlers.clear()
        taken_back.setLevel(logging.NOTSET)
    sdk = getLogger("holdfast-log")
    sdk.setLevel(logging.DEBUG)
    sdk.propagate = False
    ours = logging.getLogger("holdfast")
    ours.setLevel(logging.DEBUG)
    ours.propagate = False
    ours.addHandler(LogLimit(sdk.handle))


async def _end_with_parent() -> None:
    """Waits until viam-server is gone, for whatever reason; then completes all files and exits.

    The SDK would notice only after ten seconds or more, when a restarted viam-server already has a second module.
    No program is left to be informed, so the process ends without the SDK's shutdown.
    """
    await parent.gone()
    try:
        await durable.PROCESS.end(in_a_hurry=True)
    finally:
        os._exit(0)


async def main(ending: frozenset[int]) -> None:
    gc.freeze()  # what was imported is never garbage: no later collection needs to examine it
    _allow_many_open_files()
    module = HoldfastModule.from_args()
    _limit_the_log()
    watch = begin(supervised("the watch over viam-server", _end_with_parent), "holdfast-watch-parent")
    await module.serve(ending)
    watch.cancel()


def run() -> NoReturn:
    """Runs the program, and exits without waiting for threads, unlike Python's own end."""
    code = 0
    allocator.give_memory_back()
    let_time_never_fail()
    try:
        event_loop.run(main(signals.take()))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - Python's own end would wait for threads
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)


def _is_socket(argument: str) -> bool:
    """Returns whether this is a path, or a host and port for TCP. A user's command has neither `/` nor `:`."""
    return "/" in argument or ":" in argument


if __name__ == "__main__":
    if not any(map(_is_socket, sys.argv[1:2])):
        from holdfast import cli

        sys.exit(cli.main())
    run()
