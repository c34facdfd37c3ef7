"""Resources of every API that answer what `answers.py` says, byte for byte.

One model for all APIs, `holdfast:parity:answers`. The answers are gRPC messages, sent past the SDK's own resource
classes: those can not express an absent field, an annotation of an image or a number beyond Python's conversions.
A method without an answer is unimplemented. `sensor-awkward-2` is a second resource that answers as
`sensor-awkward` does.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import viam.components.audio_in
import viam.components.audio_out  # noqa: F401  (registers its API, which Module does not)
from grpclib import GRPCError, Status
from grpclib.server import Stream
from viam.components.component_base import ComponentBase
from viam.components.generic.service import GenericRPCService
from viam.module.module import Module
from viam.proto.app.robot import ComponentConfig
from viam.proto.common import ResourceName
from viam.resource.base import ResourceBase
from viam.resource.manager import ResourceManager
from viam.resource.registry import Registry, ResourceCreatorRegistration, ResourceRegistration
from viam.resource.types import API, Model

from .answers import ANSWERS
from .messages import Answer

MODEL = Model.from_string("holdfast:parity:answers")
GAUGE = API("acme", "component", "gauge")
"""An API that neither viam-server nor the SDK knows; it is served by the generic component's RPC."""


class Gauge(ComponentBase):
    API = GAUGE


def answering(method: str) -> Callable[..., Awaitable[None]]:
    """The handler of an RPC of any API, for all resources."""

    async def handle(_: Any, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        assert request is not None
        answer: Answer | None = ANSWERS.get(resource_of(request), {}).get(method)
        if callable(answer):
            answer = answer(request)
        if answer is None:
            raise GRPCError(Status.UNIMPLEMENTED, f"{resource_of(request)} does not answer {method}")
        if isinstance(answer, GRPCError):
            raise answer
        for message in answer if isinstance(answer, list) else [answer]:
            await stream.send_message(message)

    return handle


def resource_of(request: Any) -> str:
    """Whose answers a request asks for; each API has a field of its own for the name."""
    for field in ("name", "board_name", "controller"):
        if field in request.DESCRIPTOR.fields_by_name and getattr(request, field):
            return re.sub(r"-\d+$", "", getattr(request, field))
    return ""


def serve(registration: ResourceRegistration[Any]) -> None:
    """Replaces the handlers of an API by answering ones and registers the model for it."""
    service = registration.rpc_service
    for path in service(ResourceManager()).__mapping__():
        method = path.rpartition("/")[2]
        setattr(service, method, answering(method))
    resource_type = registration.resource_type
    kind = type("Answers", (resource_type,), {"MODEL": MODEL})
    # The resource itself is never asked: what is abstract in it may stay so.
    kind.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]

    def new(config: ComponentConfig, _: Mapping[ResourceName, ResourceBase]) -> ResourceBase:
        resource: ResourceBase = kind(config.name)
        resource.logger.setLevel(logging.WARNING)
        return resource

    Registry.register_resource_creator(resource_type.API, MODEL, ResourceCreatorRegistration(new))


async def main() -> None:
    Registry.register_api(ResourceRegistration[Any](Gauge, GaugeRPCService, lambda name, channel: None))
    for registration in Registry.REGISTERED_APIS().values():
        serve(registration)
    await Module.from_args().start()  # type: ignore[no-untyped-call]


class GaugeRPCService(GenericRPCService):
    RESOURCE_TYPE = Gauge


if __name__ == "__main__":
    asyncio.run(main())
