"""The link to the cloud on the real viam-server: cut, refused or never there, it costs no reading."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError

from demo.link import Link

from .machines import (
    CREDENTIALS,
    KEY,
    KEY_ID,
    Servers,
    a_machine,
    all_but_in_flight,
    collector,
    lines_with_key,
    readings_of,
    repeated,
    until,
)


async def test_a_cut_link_stops_no_capture_and_loses_nothing(viam_server: Servers, tmp_path: Path) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        link = Link(urlsplit(machine.cloud.address).port or 0)
        await link.start()
        try:
            source = machine.source("counting")
            await machine.start(
                components=[source.component],
                cloud_address=link.address,
                capture_methods=[readings_of("counting", 50)],
            )
            await until(lambda: len(machine.of("counting")) >= 50, "readings arrive")
            await link.cut()
            arrived_before_cut = set(machine.seqs("counting"))
            status = await machine.until_status(
                lambda status: status["sync"]["link"] == "no connection", "the status says that the link is down"
            )
            assert status["sync"]["link_error"]
            await machine.until_status(
                lambda status: "not connected to the cloud" in status["sync"]["state"], "sync says that it waits"
            )
            count = len(machine.of("counting"))
            await machine.until_captured("counting", collector(status, "counting")["readings"] + 100)
            assert len(machine.of("counting")) == count
            with pytest.raises(GRPCError) as refused:
                await machine.sync()
            assert refused.value.status is Code.UNAVAILABLE
            assert "not connected to the cloud" in str(refused.value.message)
            await link.restore()
            await until(lambda: len(machine.of("counting")) >= count + 100, "what was kept arrives")
            await machine.until_status(lambda status: status["sync"]["link"] == "up", "the status says so")
            await machine.stop_capture_and_sync()
            assert sorted(set(machine.seqs("counting"))) == source.seqs
            # At most what was in flight at the cut came twice.
            assert set(repeated(machine.seqs("counting"))) <= arrived_before_cut
            assert len(repeated(machine.seqs("counting"))) < len(arrived_before_cut)
        finally:
            await link.stop()


async def test_a_refused_login_is_told_without_the_key_and_capture_goes_on(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path, keys={KEY_ID: "another key"}) as machine:
        source = machine.source("counting")
        await machine.start(components=[source.component], capture_methods=[readings_of("counting", 50)])
        await machine.until_status(lambda status: status["sync"]["link"] == "login refused", "the status says so")
        await machine.server.wait_for_log(r"ERROR.*login refused: UNAUTHENTICATED")
        status = await machine.until_captured("counting", 100)
        assert "UNAUTHENTICATED" in status["sync"]["link_error"]
        with pytest.raises(GRPCError, match="UNAUTHENTICATED"):
            await machine.sync()
        assert await machine.stop()
        seqs = [reading.seq for reading in machine.on_disk("counting")]
        assert all_but_in_flight(seqs, source.seqs)
        assert machine.uploads == 0
        log = machine.server.log_text()
        assert not lines_with_key(log) and KEY not in str(status)
        assert log.count("login refused: UNAUTHENTICATED") == 1  # at most once a minute


@pytest.mark.parametrize("missing", [["VIAM_API_KEY"], list(CREDENTIALS)], ids=["no-key", "nothing"])
async def test_without_credentials_capture_works_and_what_is_missing_is_told_once_a_minute(
    viam_server: Servers, tmp_path: Path, missing: list[str]
) -> None:
    env = {name: value for name, value in CREDENTIALS.items() if name not in missing}
    async with a_machine(viam_server, tmp_path, env=env) as machine:
        source = machine.source("counting")
        await machine.start(components=[source.component], capture_methods=[readings_of("counting", 100)])
        status = await machine.until_captured("counting", 100)
        # A change of the config is no reason to say it again.
        machine.change(tags=["changed"])
        await until(lambda: len(machine.capture_files_of("counting")) >= 2, "the change took effect")
        await machine.until_captured("counting", collector(status, "counting")["readings"] + 200)
        status = await machine.until_status(
            lambda status: "not connected to the cloud" in status["sync"]["state"], "sync says that it waits"
        )
        assert status["sync"]["link"] == "no credentials"
        for text in (status["sync"]["link_error"], status["sync"]["state"]):
            assert [name for name in CREDENTIALS if f"no {name} " in text] == missing
        with pytest.raises(GRPCError, match=missing[0]) as refused:
            await machine.sync()
        assert refused.value.status is Code.UNAVAILABLE
        assert await machine.stop()
        seqs = [reading.seq for reading in machine.on_disk("counting")]
        assert all_but_in_flight(seqs, source.seqs)
        assert machine.cloud.calls == {}
        log = machine.server.log_text()
        assert log.count("no credentials: ") == 1 and missing[0] in log


@pytest.mark.parametrize("was_connected", [False, True], ids=["never connected", "an outage"])
async def test_what_waits_is_known_and_grows_without_a_link(
    viam_server: Servers, tmp_path: Path, was_connected: bool
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()

    def lie_there() -> tuple[int, int]:
        sizes = [
            path.stat().st_size
            for path in (*(tmp_path / "capture").rglob("*.capture"), *logs.iterdir())
            if ".holdfast" not in path.parts
        ]
        return len(sizes), sum(sizes)

    async with a_machine(viam_server, tmp_path) as machine:
        link = Link(urlsplit(machine.cloud.address).port or 0)
        await link.start()
        try:
            source = machine.source("counting")
            if not was_connected:
                await link.cut()
                for number in range(5):
                    (logs / f"{number}.log").write_text("a line\n")
            await machine.start(
                components=[source.component],
                cloud_address=link.address,
                capture_dir=str(tmp_path / "capture"),
                additional_sync_paths=[str(logs)],
                file_last_modified_millis=100,
                maximum_capture_file_size_bytes=2000,
                capture_methods=[readings_of("counting", 50)],
            )
            if was_connected:
                await until(lambda: len(machine.of("counting")) >= 50, "readings arrive")
                await link.cut()
                for number in range(5):
                    (logs / f"{number}.log").write_text("a line\n")
            await machine.until_status(lambda status: status["sync"]["link"] == "no connection", "it is offline")
            least = 0
            for most in (10, 20, 30):
                await until(lambda: lie_there()[0] >= most, "files are completed")  # noqa: B023
                before = lie_there()
                sync = (
                    await machine.until_status(
                        lambda status: status["sync"].get("pending_files", 0) >= before[0],  # noqa: B023
                        "the status counts what lies there",
                    )
                )["sync"]
                after = lie_there()
                assert before[0] <= sync["pending_files"] <= after[0] and sync["pending_files"] > least
                assert before[1] <= sync["pending_bytes"] <= after[1]
                assert "time_left_s" not in sync, "nothing moves"
                assert (sync["in_flight"], sync["unreadable"]) == (0, 0)
                assert sync["pending_as_of_s"] < 60 and sync["oldest_age_s"] < 60
                least = sync["pending_files"]
            assert "not connected to the cloud" in sync["state"]
            await link.restore()
            await machine.stop_capture_and_sync()
            assert sorted(set(machine.seqs("counting"))) == source.seqs
            assert len(machine.files) == 5
            await machine.until_status(lambda status: status["sync"].get("pending_files") == 0, "nothing is left")
        finally:
            await link.stop()
