"""This small Viam module serves the host sensor in a real viam-server. Its attribute is `ledger`, a path."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from viam.module.module import Module
from viam.proto.app.robot import ComponentConfig
from viam.proto.common import ResourceName
from viam.resource.base import ResourceBase
from viam.resource.registry import Registry, ResourceCreatorRegistration
from viam.resource.types import Model, ModelFamily

from demo.inputs import HostSensor

MODEL = Model(ModelFamily("holdfast", "demo"), "host")


def new_sensor(config: ComponentConfig, dependencies: Mapping[ResourceName, ResourceBase]) -> ResourceBase:
    ledger = config.attributes.fields["ledger"].string_value
    return HostSensor(config.name, Path(ledger) if ledger else None)


if __name__ == "__main__":
    Registry.register_resource_creator(HostSensor.API, MODEL, ResourceCreatorRegistration(new_sensor))
    asyncio.run(Module.run_from_registry())  # type: ignore[no-untyped-call]  # untyped in the SDK
