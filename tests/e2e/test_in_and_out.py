"""In and out: one capture folder goes from the builtin data manager to ours and back on the real viam-server."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

from demo.cloud import UPLOADS

from .machines import (
    MODULE,
    PART_ID,
    SERVICE,
    Machine,
    Reading,
    Servers,
    a_machine,
    readings_in,
    readings_of,
    repeated,
    until,
)

HZ = 100
MANY = HZ // 2
OURS, BUILTIN = "ours", "builtin"
FAR_AWAY_S = 0.3
KEPT_IN_MEMORY = 60
"""Readings that the builtin's buffer of 4 KiB holds, and some that are on their way."""


def as_ours(machine: Machine) -> dict[str, Any]:
    """The machine's config with our module as its data manager."""
    return machine.config()


def as_builtin(machine: Machine, *, with_module: bool = False) -> dict[str, Any]:
    """The same with viam-server's own data manager; our module goes, or stays without a service."""
    capture = {"method": "Readings", "capture_frequency_hz": HZ, "additional_params": {}}
    config = machine.config()
    config["components"] = [
        {**each, "service_configs": [{"type": "data_manager", "attributes": {"capture_methods": [capture]}}]}
        for each in machine.components
    ]
    config["services"] = [
        {
            "name": SERVICE,
            "api": "rdk:service:data_manager",
            "model": "rdk:builtin:builtin",
            "attributes": {
                "capture_dir": str(machine.capture_dir),
                "tags": [BUILTIN],
                "sync_interval_mins": 0.005,
                "file_last_modified_millis": 300,
                "maximum_num_sync_threads": 4,
            },
        }
    ]
    if not with_module:
        config["modules"] = [each for each in config["modules"] if each["name"] != MODULE]
    return config


def refuse_all(method: str, _: bytes | None) -> grpc.StatusCode | None:
    """A cloud that takes no data. Both data managers try again soon after this answer."""
    return grpc.StatusCode.INTERNAL if method in UPLOADS else None


def arrived_of(machine: Machine, by: str) -> list[Reading]:
    """What arrived of the readings that one of the two data managers captured."""
    return [reading for reading in machine.of("counting") if reading.tags == (by,)]


def readable(machine: Machine) -> dict[int, Reading]:
    """What lies on disk and can be read, by sequence number."""
    return {reading.seq: reading for reading in machine.on_disk("counting")}


def has_readings(path: Path) -> bool:
    """Whether a capture file has readings; one that is renamed meanwhile has none."""
    with suppress(FileNotFoundError):
        return bool(readings_in(path))
    return False


def kept_by(machine: Machine, by: str) -> int:
    """How many readings of one of the two lie on disk."""
    return sum(1 for reading in readable(machine).values() if reading.tags == (by,))


def state_of(machine: Machine) -> dict[str, tuple[int, int, bytes]]:
    """All that lies in `.holdfast`: which file it is, when it was written and what it says."""
    folder = machine.capture_dir / ".holdfast"
    found = {}
    for path in folder.rglob("*"):
        about = path.stat()
        found[str(path.relative_to(folder))] = (about.st_ino, about.st_mtime_ns, path.read_bytes())
    return found


def facts(reading: Reading) -> tuple[Mapping[str, Any], int, int, tuple[str, ...]]:
    """What must be the same on disk and in the cloud."""
    return reading.data, reading.requested_ns, reading.received_ns, reading.tags


async def all_arrived(machine: Machine, seqs: Collection[int]) -> None:
    await until(lambda: set(seqs) <= set(machine.seqs("counting")), "what the other one left arrives")


async def test_a_folder_goes_from_the_builtin_to_us_and_back_and_everything_is_delivered_once(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path, connected=True) as machine:
        source = machine.source("counting")
        machine.components = [source.component]
        machine.attributes |= {"capture_methods": [readings_of("counting", HZ)], "tags": [OURS]}
        left: dict[int, Reading] = {}
        ours_ns: list[tuple[int, int]] = []

        def leave(number: int) -> set[int]:
            """Notes what is on disk undelivered, and puts an arbitrary file beside it."""
            (machine.capture_dir / f"note-{number}.txt").write_text(f"note {number}")
            found = readable(machine)
            left.update(found)
            return set(found)

        # The builtin leaves complete files to us.
        machine.take(as_builtin(machine))
        await machine.server.start_connected(machine.cloud.address, part_id=PART_ID)
        await until(lambda: len(arrived_of(machine, BUILTIN)) >= MANY, "the builtin delivers")
        machine.cloud.fail_while = refuse_all
        await until(lambda: kept_by(machine, BUILTIN) >= MANY, "files of the builtin stay")
        machine.take(as_ours(machine))
        await machine.until_captured("counting", MANY)
        from_ns = time.time_ns()
        seqs = leave(1)
        assert kept_by(machine, BUILTIN) >= MANY
        machine.cloud.fail_while = None
        await all_arrived(machine, seqs)

        # We leave complete files to the builtin; our state stays ours.
        machine.cloud.fail_while = refuse_all
        await until(lambda: kept_by(machine, OURS) >= MANY, "files of ours stay")
        await machine.disconnect()
        ours_ns.append((from_ns, time.time_ns()))
        mark = machine.server.log_mark()
        machine.take(as_builtin(machine))
        await machine.server.wait_for_log("Module successfully closed", after=mark)
        state = state_of(machine)
        assert state
        await until(lambda: kept_by(machine, BUILTIN) > 0, "the builtin captures")
        seqs = leave(2)
        assert kept_by(machine, OURS) >= MANY
        machine.cloud.fail_while = None
        await all_arrived(machine, seqs)
        checked = [reading for reading in arrived_of(machine, OURS) if reading.unknown_fields]
        assert checked  # these the builtin sent: it does not cut off our check

        # The builtin is killed: complete files, and one in progress.
        machine.cloud.fail_while = refuse_all
        await until(lambda: any(map(has_readings, machine.capture_files(".prog"))), "one in progress has readings")
        machine.server.sigkill()
        await machine.server.stop()
        killed_ns = time.time_ns()
        seqs = leave(3)
        in_progress = [path for path in machine.capture_files(".prog") if has_readings(path)]
        assert in_progress and machine.capture_files(".capture")
        assert state_of(machine) == state

        machine.cloud.fail_while = None
        machine.take(as_ours(machine))
        await machine.start_again()
        await machine.until_captured("counting", 1)
        from_ns = time.time_ns()
        await machine.until_captured("counting", MANY)
        await all_arrived(machine, seqs)
        await until(lambda: len(machine.files) >= 3, "the arbitrary files arrive")
        ours_ns.append((from_ns, time.time_ns()))
        await machine.stop_capture_and_sync()

        arrived = {reading.seq: reading for reading in machine.of("counting")}
        assert not repeated(machine.seqs("counting"))
        assert {seq: facts(arrived[seq]) for seq in left} == {seq: facts(reading) for seq, reading in left.items()}
        served = {each.seq: each.time_ns for each in source.served}
        for seq, reading in arrived.items():  # the sensor's own account: nothing is altered, nothing invented
            assert reading.data == {"readings": {"seq": seq}}
            assert reading.requested_ns <= served[seq] <= reading.received_ns
        lost_ns = [time_ns for seq, time_ns in served.items() if seq not in arrived]
        for begin_ns, end_ns in ours_ns:
            assert not [time_ns for time_ns in lost_ns if begin_ns <= time_ns <= end_ns]
        assert len(lost_ns) <= KEPT_IN_MEMORY, [(killed_ns - time_ns) / 1e9 for time_ns in lost_ns]
        assert Counter((Path(about.file_name).name, data) for about, data in machine.files) == Counter(
            (f"note-{number}.txt", b"note %d" % number) for number in (1, 2, 3)
        )
        assert not list(machine.capture_dir.rglob("failed"))


async def test_the_builtin_has_the_folder_alone_from_the_moment_on_when_it_takes_our_service_s_place(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path, connected=True) as machine:
        source = machine.source("counting")
        machine.components = [source.component]
        machine.attributes |= {"capture_methods": [readings_of("counting", HZ)], "tags": [OURS]}
        machine.take(as_ours(machine))
        await machine.server.start_connected(machine.cloud.address, part_id=PART_ID)
        await until(lambda: len(arrived_of(machine, OURS)) >= MANY, "we deliver")
        # What is in flight at a change may arrive twice, so nothing shall be.
        machine.cloud.fail_while = refuse_all
        await until(lambda: kept_by(machine, OURS) >= MANY, "files of ours stay")
        machine.take(as_builtin(machine, with_module=True))
        await until(lambda: kept_by(machine, BUILTIN) > 0, "the builtin captures")
        assert machine.server.module_pids(MODULE)

        async def slowly() -> None:
            await asyncio.sleep(FAR_AWAY_S)

        machine.cloud.before_answer = slowly
        machine.cloud.fail_while = None
        await until(lambda: len(arrived_of(machine, BUILTIN)) >= 2 * HZ, "the builtin delivers")
        assert not repeated(machine.seqs("counting"))
