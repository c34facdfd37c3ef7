"""Capture settings of components, as Viam's app sets them, are captured on the real viam-server, by themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_handover import rebuild
from tests.problems import problems_in

from .machines import (
    MODULE,
    Machine,
    Servers,
    Source,
    Status,
    a_machine,
    collector,
    readings_of,
    sensor,
    until,
)

BOTH = pytest.mark.parametrize("connected", [False, True], ids=["local-config", "cloud-config"])


def with_card(source: Source, hz: float, **more: Any) -> dict[str, Any]:
    """The entry of a sensor whose card in the app says that its readings are captured."""
    method = {"method": "Readings", "capture_frequency_hz": hz, **more}
    settings = {"type": "data_manager", "attributes": {"capture_methods": [method]}}
    return {**source.component, "service_configs": [settings]}


KILLS = 2
KILL_COSTS = 2 * 50
"""Readings at 50 Hz: what is in memory for a flush interval of a second, and a busy computer."""
CARD = {
    "type": "data_manager",
    "attributes": {"capture_methods": [{"method": "Readings", "capture_frequency_hz": 0.1}]},
}


def sources(status: Status) -> dict[str, str]:
    return {each["resource"]: each["source"] for each in status["capture"]["collectors"]}


def runs_at(hz: float, name: str = "counting") -> Any:
    return lambda status: collector(status, name)["hz"] == hz


async def all_arrives(machine: Machine, source: Source) -> None:
    """Ends capture and sync, and checks that each reading that was served has arrived, once."""
    await machine.stop_capture_and_sync()
    assert sorted(machine.seqs(source.name)) == source.seqs


@BOTH
async def test_what_a_card_says_is_captured_and_a_change_of_it_loses_nothing(
    viam_server: Servers, tmp_path: Path, connected: bool
) -> None:
    async with a_machine(viam_server, tmp_path, connected=connected) as machine:
        counting, listed = machine.source("counting"), machine.source("listed")
        await machine.start(
            components=[with_card(counting, 50), listed.component], capture_methods=[readings_of("listed", 50)]
        )
        status = await machine.until_captured("counting", 20)
        assert sources(status) == {"counting": "component", "listed": "service"}
        adopted = status["capture"]["adopted"]
        assert (adopted["count"], adopted["why_not_newer"]) == (1, "")
        assert Path(adopted["file"]).exists()

        mark = machine.server.log_mark()
        machine.change(components=[with_card(counting, 20), listed.component])
        await machine.until_status(runs_at(20), "the card's new frequency holds")
        assert "capturing Readings of listed" not in machine.server.log_text(mark)

        machine.change(components=[counting.component, listed.component])
        status = await machine.until_status(lambda now: "counting" not in sources(now), "the card is gone")
        assert status["capture"]["adopted"]["count"] == 0
        await all_arrives(machine, counting)
        assert sorted(machine.seqs("listed")) == listed.seqs


@BOTH
async def test_a_change_that_brings_no_new_service_is_found(
    viam_server: Servers, tmp_path: Path, connected: bool
) -> None:
    """viam-server compares the keys that its builtin knows, and does not touch the service for others."""
    async with a_machine(viam_server, tmp_path, connected=connected) as machine:
        counting = machine.source("counting")
        await machine.start(components=[with_card(counting, 50)])
        status = await machine.until_captured("counting", 100)
        before, mark = collector(status, "counting")["readings"], machine.server.log_mark()
        machine.change(components=[with_card(counting, 50, max_in_flight=3, timeout_ms=700)])
        await machine.until_status(
            lambda now: collector(now, "counting")["readings"] < before, "the collector begins anew"
        )
        assert "Removing resource" not in machine.server.log_text(mark)
        await all_arrives(machine, counting)


async def test_changes_of_a_card_and_kills_leave_others_complete(viam_server: Servers, tmp_path: Path) -> None:
    """Each of the others is one collector for as long as its process lives; a kill costs what it always may."""
    async with a_machine(viam_server, tmp_path, connected=True) as machine:
        changing = machine.source("changing")
        others = [machine.source(f"other-{number}") for number in range(5)]
        all_others = [with_card(each, 50) for each in others]
        await machine.start(components=[with_card(changing, 5), *all_others])
        status = await machine.until_captured("other-4", 20)
        for hz in (6, 7, 8, 9):
            before = [collector(status, each.name)["readings"] for each in others]
            machine.change(components=[with_card(changing, hz), *all_others])
            status = await machine.until_status(runs_at(hz, "changing"), f"the card's {hz} Hz hold")
            assert all(
                collector(status, each.name)["readings"] >= read for each, read in zip(others, before, strict=True)
            )

        for pid in machine.server.module_pids(MODULE):
            os.kill(pid, signal.SIGKILL)
        machine.change(components=[with_card(changing, 10), *all_others])
        await machine.disconnect()
        await machine.until_status(
            runs_at(10, "changing"), "a module that was killed adopts what changed meanwhile"
        )
        machine.server.sigkill()
        await machine.server.wait_exit()
        await machine.start_again()
        status = await machine.until_status(runs_at(10, "changing"), "so does one whose viam-server was killed")
        assert set(sources(status).values()) == {"component"}
        await machine.stop_capture_and_sync()
        for each in others:
            arrived, served = set(machine.seqs(each.name)), each.seqs
            assert arrived <= set(served)
            assert len(set(served) - arrived) <= KILLS * KILL_COSTS


async def test_the_card_of_a_remote_is_captured_and_a_change_of_its_prefix_is_found(
    viam_server: Servers, tmp_path: Path
) -> None:
    """viam-server builds the service anew for neither of the two prefixes."""
    far = viam_server("far")
    await far.start({"components": [sensor("eye")]})
    async with a_machine(viam_server, tmp_path) as machine:

        def with_remote(prefix: str, hz: float = 20) -> dict[str, Any]:
            methods = [{**readings_of("rdk:component:sensor/rem:eye", hz)}]
            settings = {"type": "data_manager", "attributes": {"capture_methods": methods}}
            remote = {"name": "rem", "address": far.bind_address, "insecure": True, "prefix": prefix}
            return {**machine.config(), "remotes": [{**remote, "service_configs": [settings]}]}

        machine.take(with_remote("one_"))
        await machine.start_again()
        status = await machine.until_captured("one_eye", 20)
        assert sources(status) == {"one_eye": "remote"}
        machine.take(with_remote("two_"))
        status = await machine.until_captured("two_eye", 20)
        assert sources(status) == {"two_eye": "remote"}


async def test_a_service_entry_goes_before_a_card_and_switches_it_off(viam_server: Servers, tmp_path: Path) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        one, two, three = (machine.source(name) for name in ("one", "two", "three"))
        await machine.start(
            components=[with_card(one, 50), with_card(two, 50), with_card(three, 50)],
            capture_methods=[
                readings_of("one", 20),
                {"name": "two", "method": "Readings", "disabled": True},
                {"name": "three", "method": "Readings", "tags": ["added"]},
            ],
        )
        status = await machine.until_captured("three", 10)
        assert sources(status) == {"one": "service", "three": "component"}
        assert collector(status, "one")["hz"] == 20
        assert collector(status, "three")["hz"] == 50
        await machine.stop_capture_and_sync()
        assert {each.tags for each in machine.of("three")} == {("added",)}
        assert two.served == []


async def test_adoption_can_be_turned_off(viam_server: Servers, tmp_path: Path) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        counting = machine.source("counting")
        await machine.start(components=[with_card(counting, 50)], adopt_component_settings=False)
        status = await machine.status()
        assert status["capture"]["collectors"] == []
        assert "adopted" not in status["capture"]
        machine.change(adopt_component_settings=True)
        await machine.until_captured("counting", 10)
        await all_arrives(machine, counting)


async def test_what_was_adopted_holds_at_a_start_at_which_the_file_can_not_be_read(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        counting = machine.source("counting")
        await machine.start(components=[with_card(counting, 50)])
        await machine.until_captured("counting", 20)
        kept = machine.capture_dir / ".holdfast" / "adopted.prog"
        await until(kept.exists, "what was adopted is kept")
        assert "the-key-that-nobody-may-see" not in kept.read_text()
        assert set(json.loads(kept.read_text())) == {"version", "machine", "revision", "read_ns", "cards"}

        mark = machine.server.log_mark()
        good = machine.server.config_path.read_text()
        machine.server.config_path.write_text(good[: len(good) // 2])
        await machine.server.wait_for_log("capture settings of components can't be read", after=mark)
        for pid in machine.server.module_pids(MODULE):
            os.kill(pid, signal.SIGKILL)
        await machine.server.wait_for_log("that were adopted last hold", after=mark)
        await machine.disconnect()
        status = await machine.until_captured("counting", 20)
        assert sources(status) == {"counting": "component"}
        status = await machine.until_status(
            lambda now: any("can't be read" in each for each in problems_in(now, "config")), "the problem is told"
        )
        assert "is no JSON object" in status["capture"]["adopted"]["why_not_newer"]

        machine.server.config_path.write_text(good)
        await machine.until_status(
            lambda now: not now["capture"]["adopted"]["why_not_newer"], "the file is read again"
        )
        assert problems_in(await machine.status(), "config") == []


@contextmanager
def never_replaced(path: Path) -> Iterator[None]:
    """While it lasts, nobody can replace the file, as on a full disk."""
    made = subprocess.run(["chattr", "+i", str(path)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no file can be protected here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)


async def test_a_file_that_viam_server_can_not_replace_is_told_and_what_was_adopted_holds_until_it_can(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path, connected=True) as machine:
        counting = machine.source("counting")
        machine.change(components=[with_card(counting, 50)])
        machine.take({**machine.config(), "revision": "r1"})
        await machine.start_again()
        status = await machine.until_captured("counting", 20)
        assert status["capture"]["adopted"]["revision"] == "r1"
        with never_replaced(Path(status["capture"]["adopted"]["file"])):
            machine.components = [with_card(counting, 20)]
            machine.take({**machine.config(), "revision": "r2"})
            status = await machine.until_status(
                lambda now: "was given revision r2" in now["capture"]["adopted"]["why_not_newer"], "it is told"
            )
            assert collector(status, "counting")["hz"] == 50
        machine.take({**machine.config(), "revision": "r3"})
        status = await machine.until_status(runs_at(20), "it is read again")
        assert not status["capture"]["adopted"]["why_not_newer"]


async def test_a_config_of_a_megabyte_adds_little_to_the_time_without_a_service(
    viam_server: Servers, tmp_path: Path
) -> None:
    """The same is captured by the service's own list, and then by cards."""
    async with a_machine(viam_server, tmp_path) as machine:
        fakes = [sensor(f"fake-{number}", padding="x" * 4000) for number in range(250)]
        await machine.start(components=fakes, capture_methods=[readings_of(each["name"], 0.1) for each in fakes])
        await machine.until_status(lambda now: len(sources(now)) == len(fakes), "all are captured", 60.0)
        listed_s = [(await rebuild(machine, sync_interval_mins=1 + n)).away_s for n in range(5)]
        machine.change(components=[{**each, "service_configs": [CARD]} for each in fakes], capture_methods=[])
        await machine.until_status(
            lambda now: list(sources(now).values()) == ["component"] * len(fakes), "all cards are adopted", 60.0
        )
        adopted_s = [(await rebuild(machine, sync_interval_mins=10 + n)).away_s for n in range(5)]
        assert machine.server.config_path.stat().st_size > 1_000_000
        print(f"without a service for {min(listed_s) * 1000:.0f} ms, with cards {min(adopted_s) * 1000:.0f} ms")
        # A busy computer only ever adds to what the change itself takes, so the quickest ones are compared.
        assert min(adopted_s) < min(listed_s) + 0.15, (listed_s, adopted_s)


async def test_at_an_offline_start_the_last_config_of_the_cloud_holds(viam_server: Servers, tmp_path: Path) -> None:
    async with a_machine(viam_server, tmp_path, connected=True) as machine:
        counting = machine.source("counting")
        await machine.start(components=[with_card(counting, 50)])
        await machine.until_captured("counting", 20)
        await machine.stop()
        await machine.cloud.stop()
        machine.change(components=[with_card(counting, 20)])  # arrives when the cloud is back
        await machine.start_again()
        status = await machine.until_captured("counting", 20)
        assert sources(status) == {"counting": "component"}
        assert collector(status, "counting")["hz"] == 50
        await machine.cloud.start()
        await machine.until_status(runs_at(20), "the change has arrived")
        await all_arrives(machine, counting)
