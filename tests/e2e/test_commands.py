"""What a client may ask of the data manager through the real viam-server, and what it is told when it can't."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError, StreamTerminatedError
from viam.proto.app.datasync import DataCaptureUploadRequest, MimeType
from viam.utils import dict_to_struct

from bench.hostile.arguments import nested

from .machines import Servers, a_machine, readings_of, sensor, until


def shape(value: Any) -> Any:
    """The structure of a status: what is known, and of what type it is."""
    if isinstance(value, Mapping):
        return {name: shape(each) for name, each in sorted(value.items())}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value).__name__


async def test_commands_answer_alike_on_both_ways_and_mistakes_are_explained(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        await machine.start(
            components=[sensor("fake-1"), sensor("fake-2")],
            capture_methods=[readings_of("fake-1", 20), readings_of("fake-2", 20), readings_of("absent", 1)],
        )
        await machine.until_status(
            lambda status: (
                status["readings"]["delivered"]
                and all(each["captured"] for each in status["capture"]["collectors"])
                and "last_round_age_s" in status["sync"]
            ),
            "both are captured, and sync has made a round",
        )

        async def both_ways_tell_the_same() -> bool:
            return bool(shape(await machine.status()) == shape(await machine.command(command="status")))

        await until(both_ways_tell_the_same, "a figure is known at one moment, and not yet at another")
        status = await machine.status()
        assert {"version", "process", "paused", "problems", "capture", "sync", "readings", "files"} <= set(status)
        assert sorted(each["resource"] for each in status["capture"]["collectors"]) == ["fake-1", "fake-2"]

        commands = (await machine.command(command="help"))["commands"]
        assert {"status", "sync", "pause", "set_frequency"} <= set(commands)
        assert all(each["does"] and all(each["arguments"].values()) for each in commands.values())

        for command, told in (
            ({"command": "synk"}, "did you mean 'sync'"),
            ({"command": "stauts"}, "did you mean 'status'"),
            ({"command": "make coffee"}, "help"),
            ({"sync": True}, "help"),
            ({"command": 7}, "help"),
        ):
            with pytest.raises(GRPCError) as refused:
                await machine.command(**command)
            assert refused.value.status is Code.INVALID_ARGUMENT
            assert told in str(refused.value.message) and ".py" not in str(refused.value.message)


async def test_a_sync_of_one_resource_is_a_job_and_goes_on_when_its_caller_is_gone(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        sources = [machine.source(name) for name in ("left", "right")]
        await machine.start(
            components=[source.component for source in sources],
            capture_methods=[readings_of(source.name, 50) for source in sources],
            sync_disabled=True,
        )
        for source in sources:
            await machine.until_captured(source.name, 20)
        go_on = asyncio.Event()
        machine.cloud.before_answer = go_on.wait
        begun = await machine.command(command="sync", wait=False, resources=["left"])
        assert begun["done"] is False
        await until(lambda: machine.uploads, "the first upload has begun")
        assert machine.of("left") and not machine.of("right")
        waited = await machine.command(command="sync", timeout_s=0.2)
        assert waited["done"] is False and waited["pending"] >= 1
        service = await machine.service()
        with pytest.raises((GRPCError, asyncio.TimeoutError)):
            await service.sync(timeout=0.3)
        go_on.set()

        async def job_is_done() -> Mapping[str, Any] | None:
            told = await machine.command(command="job", id=begun["job"])
            return told if told["done"] else None

        told = await until(job_is_done, "the job has ended")
        assert told["files"] >= 1 and told["failed_count"] == 0 and told["error"] == ""

        async def all_are_done() -> bool:
            return all(job["done"] for job in (await machine.command(command="job"))["jobs"])

        await until(all_are_done, "the sync of the caller that is gone has ended too")
        assert machine.of("left") and machine.of("right")
        await machine.stop_capture_and_sync()
        for source in sources:
            assert sorted(machine.seqs(source.name)) == source.seqs
        outside = {"command": "sync", "paths": ["/etc"]}
        with pytest.raises(GRPCError, match=r"these are: .*captured") as refused:
            await machine.command(**outside)
        assert refused.value.status is Code.INVALID_ARGUMENT


async def test_uploads_on_request_arrive_with_their_labels_and_tell_the_true_outcome(
    viam_server: Servers, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    (photos / "a.jpeg").write_bytes(b"a" * 300_000)
    (photos / "deep" / "b.jpeg").write_bytes(b"b")
    async with a_machine(viam_server, tmp_path) as machine:
        await machine.start(upload_roots=[str(photos)], sync_disabled=True)
        answer = await machine.command(command="upload", path=str(photos), tags=["t"], dataset_ids=["set-1"])
        assert (answer["files"], answer["bytes"], len(answer["ids"])) == (2, 300_001, 2)
        assert sorted((about.file_name, *about.tags, *about.dataset_ids) for about, _ in machine.files) == [
            (str(photos / "a.jpeg"), "t", "set-1"),
            (str(photos / "deep" / "b.jpeg"), "t", "set-1"),
        ]
        for path in ("/etc/shadow", str(machine.capture_dir / ".holdfast" / "ledger.prog")):
            with pytest.raises(GRPCError) as refused:
                await machine.command(command="upload", path=path)
            assert refused.value.status is Code.INVALID_ARGUMENT and "upload_roots" in str(refused.value.message)
        data = base64.b64encode(b"csv").decode()
        assert (await machine.command(command="upload", data=data, mime_type="text/csv"))["files"] == 1

        service = await machine.service()
        upload = partial(service.upload_binary_data_to_datasets, mime_type=MimeType.MIME_TYPE_IMAGE_PNG, timeout=20)
        await upload(b"image", ["t"], ["set-1", "set-2"])
        about, content = machine.files[-1]
        assert (content, about.file_extension, sorted(about.dataset_ids)) == (b"image", ".png", ["set-1", "set-2"])
        machine.cloud.fail_next(grpc.StatusCode.INVALID_ARGUMENT)
        with pytest.raises(GRPCError) as refused:
            await upload(b"refused", [], [])
        assert refused.value.status is Code.UNAVAILABLE and "INVALID_ARGUMENT" in str(refused.value.message)
        machine.cloud.fail_next(grpc.StatusCode.INTERNAL)
        with pytest.raises(GRPCError) as refused:
            await upload(b"later", ["late"], ["set-1"])
        assert refused.value.status is Code.UNAVAILABLE and "do not send it again" in str(refused.value.message)
        assert "INTERNAL" in str(refused.value.message) and ".py" not in str(refused.value.message)

        machine.change(sync_disabled=False)
        await until(lambda: len(machine.files) == 6, "what was kept is delivered by sync")
        labels = {content: (list(about.tags), list(about.dataset_ids)) for about, content in machine.files}
        assert labels[b"later"] == (["late"], ["set-1"]) and labels[b"refused"] == ([], [])


async def test_what_the_cloud_refused_is_listed_and_sent_again_once(viam_server: Servers, tmp_path: Path) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("left")
        refused: set[int] = set()

        def refuse_one(method: str, request: bytes | None) -> grpc.StatusCode | None:
            """One reading of the first call is poison."""
            if method != "DataCaptureUpload" or request is None:
                return None
            sent = DataCaptureUploadRequest.FromString(request).sensor_contents
            seqs = {
                int(reading.struct.fields["readings"].struct_value.fields["seq"].number_value) for reading in sent
            }
            if not refused:
                refused.add(sorted(seqs)[len(seqs) // 2])
            return grpc.StatusCode.INVALID_ARGUMENT if refused & seqs else None

        machine.cloud.fail_while = refuse_one
        await machine.start(components=[source.component], capture_methods=[readings_of(source.name, 50)])
        await machine.until_status(lambda status: status["readings"]["quarantined"] == 1, "one is in quarantine")
        (row,) = (await machine.command(command="failed", action="list"))["rows"]
        assert row["readings"] == 1 and "INVALID_ARGUMENT" in row["cause"] and row["path"].endswith(".capture")
        machine.cloud.fail_while = None
        again = await machine.command(command="failed", action="retry", paths=[row["path"]])
        assert (again["files"], again["kept"]) == (1, [])
        await machine.until_status(
            lambda status: status["readings"]["quarantined"] == 0 and refused <= set(machine.seqs(source.name)),
            "what was refused has arrived",
        )
        await machine.stop_capture_and_sync()
        assert sorted(machine.seqs(source.name)) == source.seqs, "each once"
        assert (await machine.command(command="failed", action="list"))["files"] == 0


async def test_data_that_was_handed_over_outlives_a_sigkill_with_its_labels(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        await machine.start()
        never = asyncio.Event()
        machine.cloud.before_answer = never.wait
        service = await machine.service()
        calling = asyncio.create_task(
            service.upload_binary_data_to_datasets(
                b"image", ["t"], ["set-1"], MimeType.MIME_TYPE_IMAGE_JPEG, timeout=20
            )
        )
        await until(lambda: machine.files, "the cloud has it and has not answered")
        (module,) = machine.server.module_pids("holdfast")
        os.kill(module, signal.SIGKILL)
        with pytest.raises((GRPCError, StreamTerminatedError, OSError)):
            await calling
        machine.cloud.before_answer = None
        await until(lambda: len(machine.files) == 2, "what nobody confirmed is sent again by sync")
        for about, content in machine.files:
            assert (content, about.file_extension) == (b"image", ".jpeg")
            assert (list(about.tags), list(about.dataset_ids)) == (["t"], ["set-1"])
        uploads = machine.capture_dir / "uploads"
        await until(lambda: not any(path.is_file() for path in uploads.rglob("*")), "it is deleted then")


async def test_a_hostile_caller_gets_errors_and_answers_that_fit_and_capture_goes_on(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("left")
        names = [f"absent-{number}-{'x' * 1_500}" for number in range(700)]
        await machine.start(
            components=[source.component],
            capture_methods=[readings_of(source.name, 50), *(readings_of(name, 1) for name in names)],
        )
        await machine.until_captured(source.name, 20)
        pair = {"resource": source.name, "method": "Readings"}
        params = {"command": "capture_now", **pair}
        for hostile, told in (
            ({**params, "params": {f"{number:x}": 1.0 for number in range(100_000)}}, "more than 5000 values"),
            ({**params, "params": {"x": nested(30)}}, "more than 16 lists and objects in each other"),
            (
                {"command": "start_sequence", "resources": [pair], "tags": ["t" * 4_000] * 1_000},
                "and may have 262144",
            ),
            ({"command": "set_frequency", **pair, "hz": 1e308}, "hz must be 0, or from 1e-05 to 5000"),
            ({"command": "set_frequency", **pair, "hz": 5e-324}, "hz must be 0, or from 1e-05 to 5000"),
            ({"command": "pause", "what": "x" * 1_000_000}, "what must be a string"),
            ({"command": "upload", "path": "/" + "x" * 1_000_000}, "path must be a string"),
        ):
            with pytest.raises(GRPCError) as refused:
                await machine.command(**hostile)
            assert refused.value.status is Code.INVALID_ARGUMENT and told in str(refused.value.message)
        for _ in range(12):
            await machine.command(command="start_sequence", resources=[pair], tags=["t" * 1_000] * 70)
        status = await machine.status()
        waiting = status["capture"]["waiting_for"]
        assert len(waiting) + status["not_shown"]["capture.waiting_for"] == len(names)
        assert len(dict_to_struct(status).SerializeToString()) <= 1_000_000
        sequences = status["steering"]["sequences"]
        assert sequences and len(sequences) + status["not_shown"].get("steering.sequences", 0) == 12
        assert status["readings"]["captured"] > 20
        await machine.until_captured(source.name, source.seqs[-1] + 20)


async def test_uploads_that_hang_are_cancelled_and_keep_out_no_sync(viam_server: Servers, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        with (photos / f"{number}.raw").open("wb") as file:
            file.truncate(4 << 40)  # a hole: it takes no room on the disk, and days to send
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("left")
        await machine.start(
            components=[source.component],
            capture_methods=[readings_of(source.name, 50)],
            upload_roots=[str(photos)],
            sync_bandwidth_limit_bytes_per_sec=200_000,
        )
        begun = [
            await machine.command(command="upload", path=str(photos / f"{number}.raw"), wait=False)
            for number in range(6)
        ]

        async def is_sending() -> bool:
            jobs: list[dict[str, Any]] = (await machine.command(command="job"))["jobs"]
            return len([job for job in jobs if job["sent_bytes"]]) == 3

        await until(is_sending, "as many as may are being sent")
        data = base64.b64encode(b"csv").decode()
        assert (await machine.command(command="upload", data=data, mime_type="text/csv"))["files"] == 1
        for each in begun:
            told = await machine.command(command="job", id=each["job"], cancel=True)
            assert (told["done"], told["cancelled"], told["files"]) == (True, True, 0)
            assert told == await machine.command(command="job", id=each["job"], cancel=True)
        assert (await machine.command(command="sync"))["done"]
        assert len(list(photos.iterdir())) == 6
        with pytest.raises(GRPCError) as refused:
            await machine.command(command="job", cancel=True)
        assert refused.value.status is Code.INVALID_ARGUMENT
