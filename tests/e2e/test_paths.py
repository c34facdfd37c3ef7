"""Relative paths, and viam-server without HOME: the real viam-server, beside the builtin data manager."""

from __future__ import annotations

import asyncio
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.problems import problems_in

from .machines import (
    CREDENTIALS,
    IN_FLIGHT,
    MODULE,
    RUN,
    Servers,
    a_machine,
    all_but_in_flight,
    readings_of,
    repeated,
    sensor,
    until,
)
from .viam_server import ViamServer

NO_HOME = {"HOME": None, "VIAM_HOME": None}
"""What systemd gives a service of the system that has no User=."""
METHOD = {"method": "Readings", "capture_frequency_hz": 20}


def with_the_builtin(**attributes: Any) -> dict[str, Any]:
    capture = {"type": "data_manager", "attributes": {"capture_methods": [METHOD]}}
    manager = {"name": "data", "api": "rdk:service:data_manager", "model": "rdk:builtin:builtin"}
    return {
        "components": [sensor("a") | {"service_configs": [capture]}],
        "services": [manager | {"attributes": {"sync_disabled": True, **attributes}}],
    }


def with_holdfast(**attributes: Any) -> dict[str, Any]:
    config = with_the_builtin(capture_methods=[{"name": "a", **METHOD}], **attributes)
    config["components"] = [sensor("a")]
    config["services"][0]["model"] = "holdfast:data-manager:durable"
    config["modules"] = [{"name": "holdfast", "type": "local", "executable_path": str(RUN)}]
    return config


def capture_dirs(server: ViamServer) -> set[str]:
    """Where under viam-server's working folder captured data is."""
    api = "rdk_component_sensor"
    return {
        str(path.parent.relative_to(server.folder))
        for path in server.folder.rglob(api)
        if any(path.rglob("*.prog"))
    }


@pytest.mark.parametrize(
    ("env", "attributes", "expected"),
    [
        (NO_HOME, {}, ".viam/capture"),
        (NO_HOME, {"capture_dir": "data/cap"}, "data/cap"),
        ({}, {"capture_dir": "./data/../cap"}, "cap"),
        ({}, {"capture_dir": "~/data"}, "home/data"),
        ({}, {}, "viam/capture"),
        ({"HOME": "here", "VIAM_HOME": None}, {}, "here/.viam/capture"),
    ],
)
async def test_data_is_captured_where_the_builtin_captures_it(
    viam_server: Servers, env: dict[str, str | None], attributes: dict[str, Any], expected: str
) -> None:
    builtin, ours = viam_server("builtin", env), viam_server("ours", env)
    await asyncio.gather(builtin.start(with_the_builtin(**attributes)), ours.start(with_holdfast(**attributes)))
    for server in (builtin, ours):
        await until(lambda: capture_dirs(server), "something is captured")  # noqa: B023 - it is awaited here
    assert capture_dirs(builtin) == capture_dirs(ours) == {expected}


async def test_a_tilde_without_home_is_a_problem_and_no_folder(viam_server: Servers) -> None:
    server = viam_server("server", NO_HOME)
    await server.start(with_holdfast(capture_dir="~/data", additional_sync_paths=["~/logs"]))
    await server.wait_for_log("capture_dir: '~/data': ~ is the HOME of viam-server, which runs without HOME")
    await server.wait_for_log("additional_sync_paths: '~/logs': ~ is .*; nothing is synced from there")
    await until(lambda: capture_dirs(server), "something is captured")
    assert capture_dirs(server) == {".viam/capture"}
    assert not list(server.folder.rglob("~")) and not (RUN.parent / "~").exists()


async def test_what_an_earlier_version_kept_in_the_package_is_moved_out_and_each_reading_arrives_once(
    viam_server: Servers, tmp_path: Path
) -> None:
    package = tmp_path / "package" / "module"
    package.mkdir(parents=True)
    executable = package / "run.sh"
    executable.write_text(f'#!/bin/sh\nexec {RUN} "$@"\n')
    executable.chmod(0o700)
    async with a_machine(viam_server, tmp_path, env={**CREDENTIALS, **NO_HOME}) as machine:
        machine.executable = executable
        source = machine.source("counting")
        methods = [readings_of("counting", 50)]
        machine.capture_dir = package / "data" / "cap"  # where an earlier version put "data/cap"
        await machine.start(
            components=[source.component],
            capture_dir=str(machine.capture_dir),
            capture_methods=methods,
            maximum_capture_file_size_bytes=4096.0,
            sync_disabled=True,
        )
        await machine.until_captured("counting", 150)
        await machine.stop()
        before = source.seqs
        assert machine.capture_files(".capture")

        former, machine.capture_dir = machine.capture_dir, machine.server.folder / "data" / "cap"
        machine.change(capture_dir="data/cap", sync_disabled=False)
        await machine.start_again()
        assert not former.exists() and machine.capture_dir.is_dir()
        await machine.until_captured("counting", 50)
        await machine.stop_capture_and_sync()
        status = await machine.status()
        seqs = machine.seqs("counting")
        assert repeated(seqs) == []
        assert set(before) - set(seqs) <= set(before[-IN_FLIGHT:])
        assert all_but_in_flight([seq for seq in seqs if seq not in before], source.seqs[len(before) :])
        counts = status["readings"]
        assert counts["captured"] == counts["delivered"] == len(seqs) and counts["adopted"] == 0
        assert status["capture"]["capture_dir"] == str(machine.capture_dir)
        assert problems_in(status, "config") == []


async def test_what_an_earlier_version_kept_in_its_own_package_is_moved_out_before_viam_server_deletes_that(
    viam_server: Servers, tmp_path: Path
) -> None:
    """viam-server unpacks each version into a folder of its own; an archive gets a new version at each restart."""
    archive = tmp_path / "module.tar.gz"
    with tarfile.open(archive, "w:gz") as content:
        for name, text in (("meta.json", '{"entrypoint": "run.sh"}'), ("run.sh", f'#!/bin/sh\nexec {RUN} "$@"\n')):
            about = tarfile.TarInfo(name)
            about.size, about.mode = len(text), 0o700
            content.addfile(about, io.BytesIO(text.encode()))
    async with a_machine(viam_server, tmp_path) as machine:
        machine.executable = archive
        source = machine.source("counting")
        packages = machine.server.viam_home / "packages-local" / "data" / "module"
        former = packages / "synthetic-holdfast-0_0_0" / "data"  # where an earlier version put "data"
        written = machine.capture_dir = tmp_path / "written"
        methods = [readings_of("counting", 50)]
        await machine.start(
            components=[source.component], capture_dir=str(written), capture_methods=methods, sync_disabled=True
        )
        await machine.until_captured("counting", 20)
        machine.change(capture_dir="data", capture_methods=[])
        await machine.until_status(
            lambda status: status["capture"]["capture_dir"] != str(written), "the new folder"
        )
        await until(lambda: not machine.capture_files(".prog"), "all files are complete")
        left = sorted(reading.seq for reading in machine.on_disk("counting"))
        assert len(left) >= 20
        written.rename(former)

        await machine.disconnect()
        async with machine.server.robot() as robot:
            await robot.restart_module(name=MODULE)
        machine.capture_dir = machine.server.folder / "data"
        await machine.until_status(lambda status: status["capture"]["capture_dir"], "the module is back")
        assert (packages / "synthetic-holdfast-0_0_1").is_dir() and not former.exists()
        assert sorted(reading.seq for reading in machine.on_disk("counting")) == left
        machine.change(tags=["a change, after which viam-server cleans up"])
        await until(lambda: not former.parent.exists(), "viam-server deletes the package of the version before")
