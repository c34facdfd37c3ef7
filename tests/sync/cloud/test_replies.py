"""Answers of a cloud, or of what stands in its place, that are no answer to the upload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from holdfast.errors import CloudError
from holdfast.sync.cloud.channels import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES
from holdfast.sync.cloud.cloud import MAX_TEXT_CHARS, Cloud, CloudSettings
from holdfast.sync.cloud.replies import FILE_UPLOAD
from holdfast.sync.cloud.verdicts import Verdict, verdict
from holdfast.sync.delivery.calls import MAX_UNARY_BINARY_BYTES, file_contents, file_metadata
from tests.waiting import eventually

from ..conftest import make_world, metadata, write_capture_file, write_old_file
from ..delivery.test_calls import found
from ..raw_cloud import Call, RawCloud, accept

SENT_BYTES = 3 * 256 * 1024


async def too_early(call: Call) -> None:
    """Says OK when the first bytes are there."""
    await call.begun.wait()
    call.answer()


def image() -> bytes:
    from viam.proto.app.datasync import SensorData

    return SensorData(binary=b"x" * (2 * MAX_UNARY_BINARY_BYTES)).SerializeToString()


@pytest.fixture
async def raw() -> AsyncIterator[RawCloud]:
    async with RawCloud() as raw:
        yield raw


@pytest.fixture
async def cloud(raw: RawCloud) -> AsyncIterator[Cloud]:
    cloud = Cloud(CloudSettings(raw.address, False, "part", "id", "the-machines-key"))
    await cloud.connect()
    yield cloud
    await cloud.close()


def messages() -> Iterator[bytes]:
    yield file_metadata(found("/x/a.txt"), "part", ())
    for _ in range(SENT_BYTES // (256 * 1024)):
        yield file_contents(bytes(256 * 1024))


async def test_an_ok_before_all_of_a_stream_is_sent_is_a_failure_each_time(raw: RawCloud, cloud: Cloud) -> None:
    """Of few messages each: gRPC takes the last one when the call ends, sent or not."""
    raw.behave, raw.withholds = too_early, True
    for _ in range(50):
        with pytest.raises(CloudError, match="OK before it had all") as caught:
            await cloud.upload_stream(FILE_UPLOAD, messages)
        assert verdict(caught.value) is Verdict.RETRY and not caught.value.is_cut


@pytest.mark.parametrize("kind", ["file", "image"])
async def test_what_the_cloud_says_ok_to_unread_stays_and_arrives_later_once(tmp_path: Path, kind: str) -> None:
    async with RawCloud(too_early) as raw, make_world(tmp_path, address=raw.address) as world:
        raw.withholds = True
        if kind == "file":
            path = write_old_file(world.folder / "a.bin", bytes(SENT_BYTES))
        else:
            head = metadata(method_name="GetImages", type=1, file_extension=".jpeg")
            path = write_capture_file(world.folder / "camera", "9999-a", [image()], head)
        world.rounds.configure(world.settings(disabled=True))
        report = await world.rounds.sync_now()
        assert (report.files, report.failed.count, report.quarantined) == (0, 1, 0)
        assert "the cloud answered OK before it had all of the upload" in report.last_error
        assert world.link.up and world.delivery.retrying == 1 and path.exists()
        raw.behave, raw.withholds = accept, False
        assert (await world.rounds.sync_now()).files == 1
        assert len(raw.taken) == 1 and not path.exists()


async def test_a_refusal_with_a_long_text_is_the_clouds_own_and_its_text_is_cut(
    raw: RawCloud, cloud: Cloud
) -> None:
    async def refuse(call: Call) -> None:
        await call.ended.wait()
        call.answer(code=3, why="x" * 20_000)

    raw.behave = refuse
    for call in (lambda: cloud.upload_capture(b""), lambda: cloud.upload_stream(FILE_UPLOAD, messages)):
        for _ in range(5):  # between its two bounds, gRPC lets chance decide
            with pytest.raises(CloudError) as caught:
                await call()
            assert verdict(caught.value) is Verdict.QUARANTINE and len(caught.value.message) == MAX_TEXT_CHARS


def test_the_bounds_of_an_answer_hold_more_than_a_cloud_says() -> None:
    assert MAX_METADATA_BYTES >= 64 * 1024 and MAX_MESSAGE_BYTES >= 256 * 1024


async def test_an_answer_that_is_too_large_is_no_word_about_the_request(raw: RawCloud, cloud: Cloud) -> None:
    """gRPC itself then says RESOURCE_EXHAUSTED, as the cloud says of a request."""

    async def flood(call: Call) -> None:
        await call.ended.wait()
        h2 = call.wire.h2
        h2.send_headers(call.stream, [(":status", "200"), ("content-type", "application/grpc")])
        h2.send_data(call.stream, b"\0" + (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big") + bytes(1000))
        call.wire.flush()

    raw.behave = flood
    for call in (lambda: cloud.upload_capture(b""), lambda: cloud.upload_stream(FILE_UPLOAD, messages)):
        with pytest.raises(CloudError, match="answer is larger") as caught:
            await call()
        assert verdict(caught.value) is Verdict.RETRY and not caught.value.is_cut


async def test_an_error_is_one_line_that_steers_no_terminal(raw: RawCloud, cloud: Cloud) -> None:
    async def refuse(call: Call) -> None:
        await call.ended.wait()
        call.answer(code=3, why="%1b[31m%0a%00%e2%80%ae" * 50)

    raw.behave = refuse
    with pytest.raises(CloudError) as caught:
        await cloud.upload_capture(b"")
    assert caught.value.message.isprintable() and len(caught.value.message) <= MAX_TEXT_CHARS


async def test_a_login_that_fails_while_something_is_sent_is_not_the_fault_of_what_was_sent(tmp_path: Path) -> None:
    async def forget(call: Call) -> None:
        await call.ended.wait()
        call.answer(code=16)

    async def refuse(call: Call) -> None:
        await call.ended.wait()
        call.answer(code=3, why="no such thing")

    async with RawCloud(forget) as raw, make_world(tmp_path, address=raw.address) as world:
        path = world.capture_file("9999-a", [1])
        await world.connected()
        raw.log_in = refuse
        world.rounds.configure(world.settings(disabled=True))
        report = await world.rounds.sync_now()
        assert (report.quarantined, report.failed.count) == (0, 1) and path.exists()
        await eventually(lambda: not world.link.usable and "INVALID_ARGUMENT" in world.link.why)
        assert world.delivery.retrying == 0
        await asyncio.sleep(0)
