"""The life of the module in the real viam-server: crashes, orderly ends and changes of the config cost nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from holdfast.storage.layout import capture_file_stem

from .machines import (
    MODULE,
    Machine,
    Servers,
    Source,
    a_machine,
    all_but_in_flight,
    collector,
    readings_of,
    repeated,
    sensor,
    until,
)

BOTH = pytest.mark.parametrize("connected", [False, True], ids=["local-config", "cloud-config"])
FLUSH_INTERVAL_NS = 1_000_000_000
# A busy computer may hand the disk thread its turn late, and an answer may be under way at the kill.
TOLERANCE_NS = 250_000_000


def module_pid(machine: Machine) -> int:
    [pid] = machine.server.module_pids(MODULE)
    return pid


async def end_module(machine: Machine, *numbers: signal.Signals) -> tuple[int, int, int]:
    """Sends the module signals; returns its process id, when they were sent, and when the process was gone."""
    pid = module_pid(machine)
    sent_ns = time.time_ns()
    for number in numbers:
        os.kill(pid, number)
    await until(lambda: pid not in machine.server.module_pids(MODULE), "the module is gone")
    return pid, sent_ns, time.time_ns()


async def until_back(machine: Machine, gone: int, captured: int) -> None:
    await machine.until_status(
        lambda status: status["process"]["pid"] != gone and collector(status, "counting")["readings"] >= captured,
        "another process of the module captures",
    )


def age_in_memory_ns(machine: Machine, source: Source) -> int:
    """For how long the oldest reading that is in no file has been waiting: what a kill would cost now.

    AssertionError when that is more than a flush interval; at least 1.
    """
    now_ns, served = time.time_ns(), source.served
    written = {reading.seq for reading in machine.on_disk(source.name)}
    age_ns = max([1, *(now_ns - each.time_ns for each in served if each.seq not in written)])
    assert age_ns <= FLUSH_INTERVAL_NS + TOLERANCE_NS
    return age_ns


async def test_sigkill_of_the_module_loses_at_most_the_last_flush_interval(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        await machine.start(
            components=[source.component], sync_disabled=True, capture_methods=[readings_of("counting", 100)]
        )
        await until(
            lambda: age_in_memory_ns(machine, source) and len(source.seqs) >= 250, "readings for two seconds"
        )
        pid, killed_ns, _ = await end_module(machine, signal.SIGKILL)
        left = machine.capture_files(".prog")
        assert left
        await until_back(machine, pid, captured=50)
        status = await machine.until_status(
            lambda status: status["sync"]["recovery"].startswith("done"), "recovery is done"
        )
        assert status["sync"]["recovery"] == f"done, {len(left)} files"
        await machine.stop_capture_and_sync()

        arrived = machine.seqs("counting")
        assert not repeated(arrived)
        lost = [each for each in source.served if each.seq not in arrived]
        for each in lost:
            assert -FLUSH_INTERVAL_NS - TOLERANCE_NS <= each.time_ns - killed_ns <= TOLERANCE_NS
        assert set(arrived) <= set(source.seqs)


async def test_a_kill_between_upload_and_answer_repeats_at_most_what_was_in_flight(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        release = asyncio.Event()
        held = 0

        async def hold() -> None:
            nonlocal held
            held += 1
            await release.wait()

        await machine.start(components=[source.component], capture_methods=[readings_of("counting", 100)])
        await until(lambda: len(machine.of("counting")) >= 100, "readings arrive")
        settled = len(machine.of("counting"))
        machine.cloud.before_answer = hold
        await until(lambda: held > 0, "an upload that gets no answer")
        await machine.until_status(
            lambda status: status["sync"]["in_flight"] == held, "only such uploads are under way"
        )
        pid, killed_ns, _ = await end_module(machine, signal.SIGKILL)
        in_flight = set(machine.seqs("counting")[settled:])
        machine.cloud.before_answer = None
        release.set()
        await until_back(machine, pid, captured=50)
        await machine.until_status(lambda status: status["sync"]["recovery"].startswith("done"), "recovery is done")
        await machine.stop_capture_and_sync()

        arrived = machine.seqs("counting")
        assert set(repeated(arrived)) <= in_flight
        assert max(Counter(arrived).values()) <= 2
        lost = [each for each in source.served if each.seq not in arrived]
        for each in lost:
            assert -FLUSH_INTERVAL_NS - TOLERANCE_NS <= each.time_ns - killed_ns <= TOLERANCE_NS


@pytest.mark.parametrize("more", [[], [signal.SIGHUP]], ids=["alone", "and-sighup"])
async def test_sigterm_of_the_module_completes_all_files_and_loses_nothing(
    viam_server: Servers, tmp_path: Path, more: list[signal.Signals]
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        await machine.start(
            components=[source.component, sensor("fake-1")],
            sync_disabled=True,
            capture_methods=[readings_of("counting", 100), readings_of("fake-1", 10)],
        )
        await machine.until_captured("counting", 150)
        pid, _, gone_ns = await end_module(machine, signal.SIGTERM, *more)
        newest = capture_file_stem(gone_ns)  # the next process may write already
        assert [path for path in machine.capture_files(".prog") if path.name < newest] == []
        assert len(machine.capture_files(".capture")) == 2
        await until_back(machine, pid, captured=50)
        await machine.stop_capture_and_sync()
        assert sorted(machine.seqs("counting")) == source.seqs


async def test_sigterm_of_viam_server_completes_all_files_and_loses_nothing(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        await machine.start(components=[source.component], capture_methods=[readings_of("counting", 100)])
        await until(lambda: len(machine.of("counting")) >= 100, "readings arrive")
        machine.change(sync_disabled=True)
        await machine.until_status(
            lambda status: status["readings"]["on_disk"] >= 50 and not status["sync"]["in_flight"],
            "readings stay on disk",
        )
        assert await machine.stop()
        assert machine.capture_files(".prog") == []
        seqs = sorted(machine.seqs("counting") + [reading.seq for reading in machine.on_disk("counting")])
        # viam-server ends while a reading is on its way: that answer may be cut off.
        assert all_but_in_flight(seqs, source.seqs)

        machine.change(sync_disabled=False, capture_disabled=True)
        await machine.start_again()
        await until(lambda: not machine.capture_files(), "what was left arrives after the next start")
        assert sorted(machine.seqs("counting")) == seqs


async def test_the_end_of_a_session_loses_nothing(viam_server: Servers, tmp_path: Path) -> None:
    """systemd sends SIGTERM to all processes of a session, and SIGHUP at once."""
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        await machine.start(
            components=[source.component], sync_disabled=True, capture_methods=[readings_of("counting", 100)]
        )
        await machine.until_captured("counting", 130)
        await machine.disconnect()
        for pid in [machine.server.pid, *machine.server.module_pids(MODULE)]:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGHUP)
        await until(lambda: not machine.server.module_pids(MODULE), "the module is gone")
        assert machine.capture_files(".prog") == []
        seqs = [reading.seq for reading in machine.on_disk("counting")]
        # The reading that was on its way when viam-server ended is cut off.
        assert all_but_in_flight(seqs, source.seqs)


async def test_when_viam_server_is_killed_the_module_completes_all_files_and_ends_at_once(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        await machine.start(
            components=[source.component], sync_disabled=True, capture_methods=[readings_of("counting", 100)]
        )
        await machine.until_captured("counting", 100)
        await machine.disconnect()
        machine.server.sigkill()
        await until(lambda: not machine.server.module_pids(MODULE), "the module ends by itself", timeout_s=4)
        assert machine.capture_files(".prog") == []
        seqs = [reading.seq for reading in machine.on_disk("counting")]
        # The reading that was on its way when viam-server ended is cut off.
        assert all_but_in_flight(seqs, source.seqs)


async def test_a_module_whose_viam_server_is_killed_while_it_starts_ends_too(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        await machine.start()
        before = module_pid(machine)
        os.kill(before, signal.SIGKILL)
        await until(lambda: machine.server.module_pids(MODULE) not in ([], [before]), "the next one starts")
        machine.server.sigkill()
        await until(lambda: not machine.server.module_pids(MODULE), "it ends by itself")


@BOTH
async def test_a_change_of_the_config_costs_an_unchanged_collector_no_tick_and_no_reading(
    viam_server: Servers, tmp_path: Path, connected: bool
) -> None:
    async with a_machine(viam_server, tmp_path, connected=connected) as machine:
        source, other = machine.source("counting"), machine.source("other")
        components = [source.component, other.component]
        counting = readings_of("counting", 100)
        await machine.start(
            components=components,
            sync_disabled=True,
            capture_methods=[counting, readings_of("other", 20, tags=["round-0"])],
        )
        before = await machine.until_captured("counting", 100)
        [in_progress] = machine.capture_files_of("counting")
        for number in (1, 2, 3):
            components = [*components, sensor(f"fake-{number}")]
            machine.change(
                components=components,
                capture_methods=[
                    counting,
                    readings_of("other", 20, tags=[f"round-{number}"]),
                    *(readings_of(each["name"], 5) for each in components[2:]),
                ],
            )
            await machine.until_captured(f"fake-{number}", 1)
        captured = collector(await machine.status(), "counting")["captured"]
        after = await machine.until_captured("counting", captured + 100)

        # The collector is the same one still: the same file, the same process, each tick read or counted.
        assert machine.capture_files_of("counting") == [in_progress]
        assert after["process"]["pid"] == before["process"]["pid"]
        assert_no_tick_is_unaccounted(machine, after)
        await machine.stop_capture_and_sync()
        for each in (source, other):
            assert sorted(machine.seqs(each.name)) == each.seqs
        tags = [reading.tags for reading in sorted(machine.of("other"), key=lambda reading: reading.seq)]
        assert list(dict.fromkeys(tags)) == [(f"round-{number}",) for number in range(4)]


def assert_no_tick_is_unaccounted(machine: Machine, status: object) -> None:
    """All ticks between the first and the last reading of `counting` were read, or counted as missed."""
    found = collector(status, "counting")  # type: ignore[arg-type]
    served = machine.source("counting").served[: int(found["captured"])]
    ticks = (served[-1].time_ns - served[0].time_ns) * 100 / 1e9 + 1
    assert abs(found["captured"] + found["missed"] - ticks) <= 5
    assert found["missed"] <= ticks * 0.2
