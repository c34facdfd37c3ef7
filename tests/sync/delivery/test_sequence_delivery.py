"""The delivery of sequences, with a real connection."""

from __future__ import annotations

import asyncio
import errno
import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.storage.sequence_files import Sequence, SequenceFiles
from holdfast.sync.found import Outcome
from tests.acceptance import accept_something
from tests.fakes import FaultyFileSystem
from tests.waiting import eventually

from ..conftest import HeldUp, World, make_world
from .test_delivery import attempt

START = 1_700_000_000_000_000_000
SEQUENCE = Sequence((("lidar", "Readings"), ("cam", "GetImages")), ("t",), START, START + 1_500_000_000)


def sequence_file(world: World, identity: str = "x") -> Path:
    SequenceFiles(FileSystem(), str(world.folder)).write_ended(identity, SEQUENCE)
    return world.folder / "sequences" / f"{identity}.seq"


def arrived(folder: Path) -> list[dict[str, Any]]:
    path = folder / "cloud" / "sequences.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_a_sequence_is_one_call_and_its_file_goes(world: World) -> None:
    path = sequence_file(world)
    assert await attempt(world) is Outcome.DELIVERED
    assert not path.exists()
    assert arrived(world.folder.parent) == [
        {
            "part_id": "part",
            "resources": [
                {"resource_name": "lidar", "method_name": "Readings"},
                {"resource_name": "cam", "method_name": "GetImages"},
            ],
            "sequence_tags": ["t"],
            "start_time": "2023-11-14T22:13:20Z",
            "end_time": "2023-11-14T22:13:21.500Z",
        }
    ]
    assert (world.delivery.sequences.delivered, world.ledger.files.delivered) == (1, 0)


async def test_what_the_cloud_refuses_of_sequences_is_kept_in_failed(world: World) -> None:
    path = sequence_file(world)
    world.cloud.fail_next(grpc.StatusCode.INVALID_ARGUMENT, 2, method="CreateSequence")
    assert await attempt(world) is Outcome.WAITING
    await accept_something(world.link)
    assert await attempt(world) is Outcome.QUARANTINED
    failed = world.folder / "failed/sequences/x.seq"
    assert not path.exists() and failed.exists()
    assert "refused by the cloud" in failed.with_name("x.seq.cause.json").read_text()
    assert (world.delivery.sequences.quarantined, world.ledger.files.quarantined) == (1, 0)


async def test_a_file_that_is_no_sequence_is_kept_in_failed_without_a_call(world: World) -> None:
    sequence_file(world).write_text("")
    assert await attempt(world) is Outcome.QUARANTINED
    assert (world.folder / "failed/sequences/x.seq").exists() and not world.cloud.calls["CreateSequence"]


async def test_a_sequence_is_tried_again_until_the_cloud_takes_it(world: World) -> None:
    path = sequence_file(world)
    world.cloud.fail_next(grpc.StatusCode.INTERNAL, count=2, method="CreateSequence")
    world.rounds.configure(world.settings())
    await eventually(lambda: not path.exists())
    assert (world.cloud.calls["CreateSequence"], len(arrived(world.folder.parent))) == (3, 1)


async def test_a_sequence_whose_file_can_not_be_deleted_is_sent_once(tmp_path: Path) -> None:
    files = FaultyFileSystem()
    async with make_world(tmp_path, files) as world:
        path = sequence_file(world)
        with files.failing("remove", code=errno.EPERM, on=lambda path: path.endswith("x.seq")):
            assert await attempt(world) is Outcome.WAITING
            assert await attempt(world) is Outcome.WAITING
        assert await attempt(world) is Outcome.DELIVERED
        assert not path.exists() and world.cloud.calls["CreateSequence"] == 1


async def test_a_sequence_that_may_go_on_is_not_sent(world: World) -> None:
    path = sequence_file(world)
    world.delivery.configure((), lambda asked: asked == str(path))
    assert await attempt(world) is Outcome.WAITING
    assert path.exists() and not world.cloud.calls["CreateSequence"]


async def test_sequences_come_behind_the_data(world: World) -> None:
    sequence_file(world)
    world.capture_file("a", [1.0])
    order: list[str] = []
    world.cloud.fail_while = lambda method, request: order.append(method)
    world.rounds.configure(world.settings(uploads=1))
    await eventually(lambda: "CreateSequence" in order)
    uploads = [method for method in order if method != "Authenticate"]
    assert uploads == ["DataCaptureUpload", "CreateSequence"]


@pytest.mark.parametrize(("operation", "content"), [("remove", None), ("rename", "")])
async def test_a_sequence_that_is_just_going_is_nobody_elses_before_it_has_gone(
    tmp_path: Path, operation: str, content: str | None
) -> None:
    """It goes to the cloud or to quarantine. Otherwise another attempt would send it again meanwhile."""
    files = HeldUp(operation, "/x.seq" if content is None else "/failed/")
    async with make_world(tmp_path, files) as world:
        path = sequence_file(world)
        if content is not None:
            path.write_text(content)
        task = asyncio.create_task(attempt(world))
        await files.cancelled(task, task.cancel, lambda: world.store.claims.try_claim(str(path)))
        assert not path.exists()
