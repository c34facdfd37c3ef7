"""Files on the real viam-server: arbitrary ones of every odd kind, and what the builtin data manager left."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
from viam.proto.app.datasync import FileUploadRequest

from .machines import Machine, Servers, a_machine, readings_in, readings_of, repeated, until

ODD_NAME = os.fsdecode(b"not-utf8-\xff\xfe.bin")


def write_regular_files(folder: Path) -> dict[str, str]:
    """Files to deliver; the hash of each by its name as the cloud is told."""
    content = random.Random(1)
    names = {
        "plain.txt": "plain.txt",
        "large.bin": "large.bin",
        "line\nbreak.txt": "line\nbreak.txt",
        "größe 𝄞.txt": "größe 𝄞.txt",
        ODD_NAME: r"not-utf8-\xff\xfe.bin",
        "tag=outer/dataset=set-1/tag=inner/tagged.json": "tagged.json",
        ".hidden": ".hidden",
    }
    hashes = {}
    for name, told in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.randbytes(3_000_001 if name == "large.bin" else 1000)
        path.write_bytes(data)
        hashes[told] = hashlib.sha256(data).hexdigest()
    return hashes


def make_odd_entries(folder: Path) -> list[Path]:
    """What can't be delivered and must not be touched."""
    os.mkfifo(folder / "fifo")
    handle = os.open(folder, os.O_RDONLY)  # a socket's path has at most 107 bytes, pytest's folders are longer
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{handle}/socket")
    os.close(handle)
    (folder / "loop-1").symlink_to(folder / "loop-2")
    (folder / "loop-2").symlink_to(folder / "loop-1")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "round-and-round").symlink_to(folder)
    (folder / "empty").touch()
    odd = ["fifo", "socket", "loop-1", "loop-2", "dangling", "round-and-round", "empty"]
    if os.geteuid() != 0:  # root reads everything
        (folder / "locked").mkdir(mode=0)
        odd.append("locked")
    return [folder / name for name in odd]


async def test_odd_entries_stop_no_regular_file_which_all_arrive_byte_for_byte(
    viam_server: Servers, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    odd = make_odd_entries(folder)
    hashes = write_regular_files(folder)
    vanishing = folder / "vanishing.bin"
    vanishing.write_bytes(b"gone while it is sent" * 100_000)

    def make_it_vanish(method: str, request: bytes | None) -> grpc.StatusCode | None:
        about = FileUploadRequest.FromString((method == "FileUpload" and request) or b"").metadata
        if about.file_name == str(vanishing):
            vanishing.unlink(missing_ok=True)
        return None

    async with a_machine(viam_server, tmp_path) as machine:
        machine.cloud.fail_while = make_it_vanish
        await machine.start(tags=["all"], additional_sync_paths=[str(folder), str(tmp_path / "no-such-folder")])
        status = await machine.until_status(
            lambda status: status["files"]["delivered"] == len(hashes) and status["files"]["vanished"] == 1,
            "all files are delivered",
        )
        sync = status["sync"]
        assert (sync["link"], sync["retrying"], sync["last_error"], sync["state"]) == ("up", 0, "", "syncing")
        assert status["files"]["quarantined"] == 0

        arrived = {
            Path(about.file_name).name: hashlib.sha256(data).hexdigest()
            for about, data in machine.files
            if about.file_name != str(vanishing)
        }
        assert arrived == hashes
        assert Counter(about.file_name for about, _ in machine.files).most_common(1)[0][1] == 1
        about = {Path(about.file_name).name: about for about, _ in machine.files}
        assert set(about["tagged.json"].tags) == {"all", "outer", "inner"}
        assert list(about["tagged.json"].dataset_ids) == ["set-1"]
        assert about["tagged.json"].file_extension == ".json"
        assert list(about["plain.txt"].tags) == ["all"] and not about["plain.txt"].dataset_ids

        left = {path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir() or path in odd}
        assert left == set(odd)
        log = machine.server.log_text()
        assert "Traceback" not in log and "failed unexpectedly" not in log


FORGED = "2026-11-29T00:00:00Z ERROR forged\x1b[2J"
ESCAPED = r"\n2026-11-29T00:00:00Z ERROR forged\x1b[2J"


async def test_a_refused_file_of_any_name_is_kept_and_retried_and_forges_no_log(
    viam_server: Servers, tmp_path: Path
) -> None:
    """Its name is as long as names can be, or begins a line like one of the log."""
    folder = tmp_path / "files"
    names = ["x" * 251 + ".txt", "ж" * 127, f"a\n{FORGED}.txt", os.fsdecode(b"not-utf8-\xff.bin")]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name, errors="surrogateescape")
    paths = {str(folder / name) for name in names}

    def refuse(method: str, request: bytes | None) -> grpc.StatusCode | None:
        is_meant = method == "FileUpload" and b"good.txt" not in (request or b"")
        return grpc.StatusCode.INVALID_ARGUMENT if is_meant else None

    async with a_machine(viam_server, tmp_path) as machine:
        machine.cloud.fail_while = refuse
        ghost = readings_of("ghost\n2026-11-29 ERROR forged", 1)
        await machine.start(components=[], capture_methods=[ghost], additional_sync_paths=[str(folder)])
        await machine.until_status(lambda status: status["sync"]["retrying"] == 4, "all are refused")
        (folder / "good.txt").write_text("good")
        status = await machine.until_status(lambda status: status["files"]["quarantined"] == 4, "that is believed")
        assert status["capture"]["waiting_for"] == [r"ghost\n2026-11-29 ERROR forged"]
        await machine.stop()
        await machine.start_again()
        listed = await machine.command(command="failed", action="list")
        shown = {row["file"] for row in listed["rows"]}
        assert str(folder / f"a{ESCAPED}.txt") in shown and all(each.isprintable() for each in shown)

        machine.cloud.fail_while = None
        assert (await machine.command(command="failed", action="retry", paths=sorted(shown)))["files"] == 4
        await until(lambda: len(machine.files) == 5, "all are delivered")
        told = {name.replace(os.fsdecode(b"\xff"), r"\xff") for name in paths}
        assert {about.file_name for about, _ in machine.files} == told | {str(folder / "good.txt")}
        assert not [path for path in folder.rglob("*") if path.is_file()]
        log = machine.server.log_text()
        assert f"a{ESCAPED}.txt" in log
        assert not [line for line in log.split("\n") if line.startswith("2026-11-29T00:00:00Z")]
        assert not [line for line in log.split("\n") if "forged" in line and "\x1b" in line]


_LOGGER = """
import sys
with open(sys.argv[1], "a", buffering=1) as log:
    for line in sys.stdin:
        log.write(line)
        print(flush=True)
"""


async def test_the_file_of_a_logger_that_keeps_it_open_is_sent_once_and_whole_when_it_is_closed(
    viam_server: Servers, tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log, rotated = folder / "app.log", folder / "app.log.1"
    rotated.write_text("of yesterday\n")

    def is_left_alone() -> bool:
        return time.time() - log.stat().st_mtime > 0.3

    async with a_machine(viam_server, tmp_path) as machine:
        logger = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _LOGGER, str(log), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert logger.stdin is not None and logger.stdout is not None
        try:
            await machine.start(additional_sync_paths=[str(folder)])
            for line in ("first", "second"):
                logger.stdin.write(f"{line}\n".encode())
                await logger.stdout.readline()
                status = await machine.until_status(
                    lambda status: status["sync"]["held_open"]["count"] == 1, "the log is known to be held open"
                )
            (held,) = status["sync"]["held_open"]["first"]
            assert held["path"] == str(log) and held["by"].endswith(f" ({logger.pid})")
            await until(lambda: not rotated.exists() and is_left_alone(), "it is ready, and the other is delivered")
            report = await machine.command(command="sync")
            assert report["held_open"] == [str(log)] and report["failed"] == []
            assert log.read_text() == "first\nsecond\n"
            logger.stdin.write(b"last\n")
        finally:
            logger.stdin.close()
            await logger.wait()
        await until(is_left_alone, "the log is ready to be sent")
        await machine.command(command="sync")
        assert not log.exists()
        assert [data for about, data in machine.files if about.file_name == str(log)] == [b"first\nsecond\nlast\n"]
        assert machine.server.log_text().count("has it open for writing") == 1


def builtin(machine: Machine) -> dict[str, Any]:
    """The machine with viam-server's own data manager in the same capture folder."""
    component = machine.source("counting").component
    capture = {"capture_methods": [{"method": "Readings", "capture_frequency_hz": 100, "additional_params": {}}]}
    config = machine.config()
    config["components"] = [component | {"service_configs": [{"type": "data_manager", "attributes": capture}]}]
    config["services"] = [
        {
            "name": "builtin",
            "api": "rdk:service:data_manager",
            "model": "rdk:builtin:builtin",
            "attributes": {
                "capture_dir": str(machine.capture_dir),
                "sync_disabled": True,
                "maximum_capture_file_size_bytes": 16 * 1024,
                "tags": ["from-builtin"],
            },
        }
    ]
    return config


async def test_what_the_builtin_left_at_its_sigkill_is_delivered(viam_server: Servers, tmp_path: Path) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        machine.components = [machine.source("counting").component]
        await machine.server.start(builtin(machine))

        def enough() -> bool:
            in_progress = machine.capture_files(".prog")
            sizes = [path.stat().st_size for path in in_progress]
            return len(machine.capture_files(".capture")) >= 2 and max(sizes, default=0) >= 4096

        await until(enough, "the builtin has complete files and one in progress")
        machine.server.sigkill()
        await machine.server.stop()
        in_progress = [path for path in machine.capture_files(".prog") if readings_in(path)]
        left = sorted(reading.seq for reading in machine.on_disk("counting"))
        assert in_progress and len(left) >= 100 and not repeated(left)

        await machine.start(components=machine.components, capture_disabled=True)
        await until(lambda: len(machine.of("counting")) >= len(left), "what the builtin left arrives")
        await until(lambda: not machine.capture_files(), "and is deleted")
        assert sorted(machine.seqs("counting")) == left
        assert {reading.tags for reading in machine.of("counting")} == {("from-builtin",)}
        assert not list(machine.capture_dir.rglob("failed/*"))
        status = await machine.until_status(
            lambda status: status["readings"]["delivered"] == len(left), "the status counts it"
        )
        assert status["readings"]["adopted"] - sum(status["readings"]["dropped"].values()) == len(left)
