"""The service captures what the cards of components say, and follows them while it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from viam.proto.app.robot import ComponentConfig
from viam.proto.module import AddResourceRequest

from holdfast.adoption import MachineFile, UnknownMachineFileError
from holdfast.base.filesystem import FileSystem
from holdfast.storage.lock import FolderLock
from module import durable
from module.durable import Durable, Process
from module.main import HoldfastModule
from tests.module.test_durable import config, name_of
from tests.test_manager import CountingClient
from tests.waiting import eventually


def card(name: str, **more: Any) -> dict[str, Any]:
    """A component with a card."""
    methods = [{"method": "Readings", "capture_frequency_hz": 50, **more}]
    settings = {"type": "data_manager", "attributes": {"capture_methods": methods}}
    return {"name": name, "api": "rdk:component:sensor", "service_configs": [settings]}


class World:
    """A process with a machine file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder / "machine.json"
        self.capture_dir = folder / "captured"
        self.known = asyncio.Event()
        """Whether viam-server tells where the file is."""
        self.known.set()
        monkeypatch.setattr(durable, "LOOK_S", 0.02)
        monkeypatch.setattr(durable, "locate", self._locate)
        monkeypatch.setattr(durable, "revision", self._revision)
        self.process = Process()
        self.process._parent = CountingClient()
        monkeypatch.setattr(durable, "PROCESS", self.process)

    async def _locate(self, *arguments: object) -> MachineFile:
        await self.known.wait()
        if not self.path.exists():
            raise UnknownMachineFileError("there is none")
        return MachineFile(str(self.path), "part")

    async def _revision(self, *arguments: object) -> str:
        return ""

    def write(self, *components: Mapping[str, Any]) -> None:
        self.path.write_text(json.dumps({"components": components}))

    def config(self, **attributes: Any) -> ComponentConfig:
        found = config(self.capture_dir, **{"capture_methods": [], "sync_disabled": True, **attributes})
        found.model = str(Durable.MODEL)
        return found

    async def start(self, *names: str, **attributes: Any) -> Durable:
        found = self.config(**attributes)
        await self.process.adopt(found)
        return Durable.new(found, {name_of(name): None for name in names})

    @property
    def captured(self) -> dict[str, str]:
        """The resources that are captured, and by what source."""
        engine = self.process.manager.engine
        running = engine.capture.running if engine is not None else ()
        return {each.collector.spec.resource: each.collector.spec.method.source for each in running}

    @property
    def kept(self) -> Path:
        return self.capture_dir / ".holdfast" / "adopted.prog"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


async def test_a_card_is_captured_and_one_that_changes_later_too(world: World) -> None:
    world.write(card("a"))
    await world.start("a", "b")
    await eventually(lambda: world.captured == {"a": "component"})
    world.write(card("a"), card("b"))
    await eventually(lambda: world.captured == {"a": "component", "b": "component"})
    await world.process.end()


async def test_a_change_of_a_priority_alone_is_taken_over_and_disturbs_no_collector(world: World) -> None:
    """viam-server builds no new service for it, since its builtin knows no priorities."""
    world.write(card("a"))
    await world.start("a")
    await eventually(lambda: world.captured == {"a": "component"})
    manager = world.process.manager
    assert manager.engine is not None
    before = manager.engine.capture.running
    world.write(card("a", priority=9))
    await eventually(lambda: [each.priority for each in manager.config.methods] == [9] if manager.config else False)
    assert manager.engine.capture.running[0].collector is before[0].collector
    world.write(card("a"))  # back to what was there
    await eventually(lambda: [each.priority for each in manager.config.methods] != [9] if manager.config else False)
    await world.process.end()


async def test_a_service_that_is_closed_is_not_brought_back_by_a_change(world: World) -> None:
    world.write(card("a"))
    service = await world.start("a", "b")
    await eventually(lambda: world.captured == {"a": "component"})
    await service.close()
    world.write(card("a"), card("b"))
    await asyncio.sleep(0.1)
    assert world.captured == {"a": "component"}
    await world.process.end()


async def test_what_is_wrong_with_the_cards_is_told_when_it_comes(world: World) -> None:
    world.write(card("a"))
    await world.start("a")
    wrong = card("a")
    wrong["service_configs"][0]["attributes"]["capture_methods"].append("oops")
    world.write(wrong)
    manager = world.process.manager
    await eventually(lambda: any("oops" in each.problem.what for each in manager.problems.look()))
    await world.process.end()


async def test_where_adoption_is_off_nothing_is_read_kept_or_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world.known.clear()  # who asks would wait
    await world.start("a", adopt_component_settings=False)
    engine = world.process.manager.engine
    assert engine is not None
    await eventually(lambda: engine.store.owned)
    await asyncio.sleep(0.1)
    assert (world.captured, world.kept.exists()) == ({}, False)
    assert "capture settings of components" not in caplog.text
    await world.process.end()


async def test_only_what_a_card_alone_brings_is_named_at_the_first_adoption(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world.write(card("a"), card("over"), card("off", disabled=True))
    over = {"name": "over", "method": "Readings", "capture_frequency_hz": 2}
    await world.start("a", "over", "off", capture_methods=[over])
    await eventually(world.kept.exists)
    await eventually(lambda: "from now on: Readings of rdk:component:sensor/a\n" in caplog.text)
    await world.process.end()


async def test_a_folder_that_another_process_has_gets_no_file_of_ours(world: World) -> None:
    world.capture_dir.mkdir()
    lock = FolderLock(FileSystem(), str(world.capture_dir))
    assert lock.try_acquire()
    world.write(card("a"))
    await world.start("a")
    await eventually(lambda: world.captured == {"a": "component"})
    await asyncio.sleep(0.1)
    assert not world.kept.exists()
    await world.process.end()
    lock.release()


async def test_no_service_comes_after_the_end_of_the_process(world: World, tmp_path: Path) -> None:
    """SIGTERM may come while the cards are read for a new service."""
    world.write(card("a"))
    world.known.clear()
    module = HoldfastModule(str(tmp_path / "socket"))
    adding = asyncio.ensure_future(module.add_resource(AddResourceRequest(config=world.config())))
    await asyncio.sleep(0.05)
    await world.process.end()
    world.known.set()
    with pytest.raises(Exception, match="the module is ending"):
        await adding
    assert world.process.manager.engine is None


async def test_a_reading_that_is_under_way_ends_with_the_process(world: World) -> None:
    world.write(card("a"))
    await world.start("a")
    world.known.clear()
    await asyncio.sleep(0.1)
    await world.process.end()
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})
