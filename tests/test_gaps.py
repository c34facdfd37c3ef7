"""The gaps in the status of the whole data manager: each with its cause, through pauses, losses and restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from holdfast.base.presentable import known
from holdfast.status import status

from .steered import GATE, Steered, override, steered
from .waiting import eventually

LONG_ENOUGH_S = 1.3


def gaps(world: Steered) -> list[dict[str, Any]]:
    """The gaps of `a`, the oldest first, as an answer has them."""
    found = known(status(world.manager))["capture"]["gaps"]
    return [gap for gap in reversed(found) if gap["resource"] == "a"]


def causes(gap: dict[str, Any]) -> set[str]:
    return {each["cause"] for each in gap["why"]}


async def until_over(world: Steered, count: int) -> None:
    await eventually(lambda: len(gaps(world)) == count and "to" in gaps(world)[-1])


async def test_each_gap_says_when_it_was_how_long_it_lasted_what_it_cost_and_why(tmp_path: Path) -> None:
    async with steered(tmp_path) as world:
        world.apply(**GATE)
        await world.until_running(a=100)
        await world.served(10)

        world.client.broken.add("a")
        await eventually(lambda: gaps(world))
        (lasting,) = gaps(world)
        assert "to" not in lasting and lasting["lasts_s"] >= 0.9 and lasting["missed"] >= 100
        assert (lasting["api"], lasting["method"]) == ("rdk:component:sensor", "Readings")
        world.client.broken.clear()
        await until_over(world, 1)

        await world.command("pause", what="a")
        await asyncio.sleep(LONG_ENOUGH_S)
        assert causes(gaps(world)[1]) == {"paused"} and "to" not in gaps(world)[1]
        await world.command("resume", what="a")
        await until_over(world, 2)

        world.client.controls = {"controls": [override("a", 0)]}
        await eventually(lambda: not world.running)
        await asyncio.sleep(LONG_ENOUGH_S)
        world.client.controls = {"controls": []}
        await until_over(world, 3)

        world.apply("gate", **GATE)
        await asyncio.sleep(LONG_ENOUGH_S)
        world.apply(**GATE)
        await until_over(world, 4)
        await world.served(10)

        await eventually(lambda: (tmp_path / "capture" / ".holdfast" / "gaps.prog").exists())
        await world.manager.stop()
        await asyncio.sleep(LONG_ENOUGH_S)
        world.new_process()
        world.apply(**GATE)
        await until_over(world, 5)

        found = gaps(world)
        largest = [gap["why"][0]["cause"] for gap in found]
        assert largest == ["error", "paused", "control_sensor", "no_resource", "not_running"]
        assert [gap["from"] for gap in found] == sorted(gap["from"] for gap in found)
        for gap in found:
            assert gap["from"] < gap["to"] and gap["lasts_s"] >= 0.9
            assert gap["missed"] == sum(each["readings"] for each in gap["why"]) >= 100
            assert gap["missed"] <= 101 * (gap["lasts_s"] + 0.1), "not more than were due"
        assert not any("gaps" in each["what"] for each in status(world.manager)["problems"])


async def test_a_record_that_can_not_be_kept_is_a_problem_as_long_as_it_is_so(tmp_path: Path) -> None:
    async with steered(tmp_path) as world:
        planted = tmp_path / "capture" / ".holdfast" / "gaps.prog"
        planted.parent.mkdir(parents=True, mode=0o700)
        planted.write_text("somebody else's")
        planted.chmod(0o666)

        def said() -> list[str]:
            return [each["what"] for each in status(world.manager)["problems"] if each["kind"] == "state"]

        world.apply()
        await eventually(lambda: any(what.startswith("the record of gaps: ") for what in said()))
        planted.unlink()
        await eventually(lambda: planted.exists() and said() == [])


async def test_a_restart_that_changes_the_config_makes_no_gap(tmp_path: Path) -> None:
    async with steered(tmp_path) as world:
        world.apply()
        await world.served(50)
        for hz in (50, 100):
            methods = [{"name": "a", "method": "Readings", "capture_frequency_hz": hz}]
            world.apply(capture_methods=methods)
            await world.served(10)
        assert gaps(world) == []
