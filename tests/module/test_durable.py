"""The service as a host of SDK objects uses it: without a parent's socket, over its real RPC service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from grpclib import GRPCError, Status
from grpclib.testing import ChannelFor
from viam.components.sensor import Sensor
from viam.proto.app.datasync import MimeType
from viam.proto.app.robot import ComponentConfig
from viam.proto.common import ResourceName
from viam.resource.base import ResourceBase
from viam.resource.manager import ResourceManager
from viam.utils import dict_to_struct

from module import durable
from module.data_manager import DataManager, DataManagerClient
from module.data_manager.service import DataManagerRPCService
from module.durable import Durable, Process
from tests.waiting import eventually


class Thermometer(Sensor):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked: list[Mapping[str, Any] | None] = []
        self.broken = False

    async def get_readings(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, Any]:
        self.asked.append(extra)
        if self.broken:
            raise RuntimeError("out of mercury")
        return {"celsius": 21.5}


def config(folder: Path, **attributes: Any) -> ComponentConfig:
    values = {
        "capture_dir": str(folder),
        "capture_methods": [{"name": "t", "method": "Readings", "capture_frequency_hz": 100}],
        **attributes,
    }
    return ComponentConfig(name="data", api=str(DataManager.API), attributes=dict_to_struct(values))


def name_of(name: str) -> ResourceName:
    return ResourceName(namespace="rdk", type="component", subtype="sensor", name=name)


@pytest.fixture
async def process(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    process = Process()
    monkeypatch.setattr(durable, "PROCESS", process)
    yield process
    await process.end()


async def test_dependencies_given_as_objects_are_called_directly(process: Process, tmp_path: Path) -> None:
    thermometer = Thermometer("t")
    Durable.new(config(tmp_path), {name_of("t"): thermometer})
    await eventually(lambda: len(thermometer.asked) >= 3)
    assert thermometer.asked[0] == {"fromDataManagement": True}
    await process.end()
    assert len(list(tmp_path.rglob("*.capture"))) == 1


async def test_a_broken_object_is_an_error_of_its_own(process: Process, tmp_path: Path) -> None:
    thermometer = Thermometer("t")
    thermometer.broken = True
    service = Durable.new(config(tmp_path), {name_of("t"): thermometer})
    await eventually(lambda: len(thermometer.asked) >= 3)
    (collector,) = (await service.get_status())["capture"]["collectors"]
    assert "out of mercury" in collector["last_error"] and collector["captured"] == 0


async def test_validate_declares_everything_optional(tmp_path: Path) -> None:
    request = config(tmp_path, selective_syncer_name="selector")
    assert Durable.validate_config(request) == ([], ("t", "selector"))


async def test_validate_names_the_attribute(tmp_path: Path) -> None:
    with pytest.raises(GRPCError, match="sync_interval_mins: can't be negative") as caught:
        durable.validate(config(tmp_path, sync_interval_mins=-1))
    assert caught.value.status is Status.INVALID_ARGUMENT


async def test_the_rpcs_reach_the_service(process: Process, tmp_path: Path) -> None:
    service = Durable.new(config(tmp_path), {})
    manager = ResourceManager([service])
    async with ChannelFor([DataManagerRPCService(manager)]) as channel:
        client = DataManagerClient("data", channel)
        assert (await client.get_status())["running"] is True
        assert (await client.do_command({"command": "status"})).keys() == (await client.get_status()).keys()
        with pytest.raises(GRPCError) as caught:
            await client.do_command({"command": "statsu"})
        assert caught.value.status is Status.INVALID_ARGUMENT and "'status'" in str(caught.value.message)
        with pytest.raises(GRPCError) as caught:
            await client.sync()
        assert caught.value.status is Status.UNAVAILABLE


async def test_an_upload_arrives_with_an_empty_name_and_says_that_it_is_not_there_yet(
    process: Process, tmp_path: Path
) -> None:
    manager = ResourceManager([Durable.new(config(tmp_path), {})])
    async with ChannelFor([DataManagerRPCService(manager)]) as channel:
        client = DataManagerClient("", channel)
        with pytest.raises(GRPCError) as caught:
            await client.upload_binary_data_to_datasets(b"x", [], [], MimeType.MIME_TYPE_IMAGE_JPEG)
        assert caught.value.status is Status.UNIMPLEMENTED


async def test_close_and_new_hand_over(process: Process, tmp_path: Path) -> None:
    thermometer: ResourceBase = Thermometer("t")
    first = Durable.new(config(tmp_path), {name_of("t"): thermometer})
    engine = process.manager.engine
    await first.close()
    Durable.new(config(tmp_path), {name_of("t"): thermometer})
    assert process.manager.engine is engine
