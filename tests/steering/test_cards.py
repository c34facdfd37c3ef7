"""The status tells the cards that have no effect, as of when they were read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from viam.proto.robot import GetCloudMetadataResponse

from holdfast.errors import ResourceCallError, ResourceErrorKind
from holdfast.machine_config import cached_config
from holdfast.status import status
from holdfast.steering import cards
from tests.machine_config.configs import READINGS, component, of_holdfast
from tests.steered import Resourceful, steered
from tests.waiting import eventually


class WithPart(Resourceful):
    """A machine that knows its part."""

    part_id = ""

    async def call(self, method: str, request: bytes, timeout_s: float, most_bytes: int) -> bytes:
        if not method.endswith("/GetCloudMetadata"):
            return await super().call(method, request, timeout_s, most_bytes)
        if not self.part_id:
            raise ResourceCallError(ResourceErrorKind.FAILED, "cloud metadata not available")
        return GetCloudMetadataResponse(machine_part_id=self.part_id).SerializeToString()


async def test_the_cards_of_the_machines_own_part_are_told_with_their_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for constant in ("FIRST_S", "AGAIN_S"):
        monkeypatch.setattr(cards, constant, 0.02)
    viam_home = tmp_path / ".viam"
    viam_home.mkdir()
    path = Path(cached_config(str(viam_home), "mine"))
    other = Path(cached_config(str(viam_home), "anothers"))
    other.write_text(json.dumps(of_holdfast(components=[component("not-here", READINGS)])))
    async with steered(tmp_path) as world:
        client = world.client = WithPart()
        world.apply("a")

        def told() -> Any:
            return status(world.manager)["capture"]["cards_without_effect"]

        asked = client.served.get("a", 0)
        await eventually(lambda: client.served.get("a", 0) > asked + 20)
        assert told() is None, "a machine without a cloud has no part"
        client.part_id = "../mine"
        path.write_text(json.dumps(of_holdfast(components=[component("on", READINGS)])))
        await world.served(20)
        assert told() is None
        client.part_id = "mine"
        await eventually(lambda: told() is not None)
        assert told()["cards"] == [{"resource": "rdk:component:sensor/on", "method": "Readings", "hz": 10.0}]
        path.write_text("{half")
        await eventually(lambda: told()["as_of_s"] > 0.2)
        assert told()["cards"], "what can't be read is not nothing"
        path.write_text(json.dumps(of_holdfast()))
        await eventually(lambda: told()["cards"] == [])
