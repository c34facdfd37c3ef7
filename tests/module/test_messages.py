"""What hostile callers send to the real service: each is answered, at little cost, and nothing of it stays."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.protocol import Buffer
from grpclib.testing import ChannelFor
from viam.proto.app.datasync import MimeType
from viam.proto.common import DoCommandResponse
from viam.resource.manager import ResourceManager

from bench.hostile.arguments import PAIR, SHAPES, entry, field, request, requests, text, upload_of
from demo.cloud import LocalCloud
from holdfast.base.attachment import Attachment
from holdfast.base.fitting import MAX_BYTES
from holdfast.base.protobuf_values import plain
from holdfast.steering import sequence_limits
from module import durable
from module.data_manager import DataManagerClient
from module.data_manager import messages as messages_module
from module.data_manager.messages import ATTACHMENTS, MAX_REQUEST_BYTES, MAX_SMALL_BYTES, Raw
from module.data_manager.service import DataManagerRPCService
from module.durable import Durable, Process
from tests.module.test_durable import Thermometer, config, name_of
from tests.waiting import eventually

SERVICE = "/viam.service.datamanager.v1.DataManagerService"
MiB = 1024 * 1024


class Bytes(Raw):
    """A message that stays as it is at both ends."""

    @classmethod
    def FromString(cls, data: bytes) -> Bytes:
        return cls(data)


async def send(channel: Channel, message: bytes, rpc: str = "DoCommand") -> bytes:
    return await UnaryUnaryMethod(channel, f"{SERVICE}/{rpc}", Bytes, Bytes)(Bytes(message))


def buffered_bytes() -> int:
    """What grpclib has received and nobody has taken."""
    buffers = [each for each in gc.get_objects() if isinstance(each, Buffer)]
    return sum(len(part.data) for buffer in buffers for part in buffer._acked)


async def nothing_reserved() -> None:
    """Returns when no memory is reserved for data; the thread that decoded it may be a moment behind."""
    await eventually(lambda: ATTACHMENTS.reserved_bytes == 0)


def kept_files(process: Process) -> list[Path]:
    return [path for path in (Path(process.manager.capture_roots[0]) / "uploads").rglob("*") if path.is_file()]


async def refused(channel: Channel, message: bytes, rpc: str = "DoCommand") -> tuple[Status, str]:
    with pytest.raises(GRPCError) as caught:
        await send(channel, message, rpc)
    return caught.value.status, str(caught.value.message)


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[LocalCloud]:
    cloud = LocalCloud(tmp_path / "cloud", api_keys={"id": "key"})
    await cloud.start()
    yield cloud
    await cloud.stop()


@pytest.fixture
async def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cloud: LocalCloud) -> AsyncIterator[Process]:
    for name, value in (("API_KEY_ID", "id"), ("API_KEY", "key"), ("MACHINE_PART_ID", "part")):
        monkeypatch.setenv(f"VIAM_{name}", value)
    process = Process()
    monkeypatch.setattr(durable, "PROCESS", process)
    yield process
    await process.end()


@pytest.fixture
async def channel(process: Process, tmp_path: Path, cloud: LocalCloud) -> AsyncIterator[Channel]:
    methods = [{"name": "a", "method": "Readings", "capture_frequency_hz": 10}]
    attributes = {"capture_methods": methods, "cloud_address": cloud.address, "sync_disabled": True}
    service = Durable.new(config(tmp_path / "capture", **attributes), {name_of("a"): Thermometer("a")})
    await eventually(lambda: process.manager.engine is not None and process.manager.engine.store.owned)
    async with ChannelFor([DataManagerRPCService(ResourceManager([service]))]) as channel:
        yield channel


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ("a_million_parameters", "more than 5000 values"),
        ("empty_values", "more than 5000 values"),
        ("unknown_fields", "more than 40000 fields"),
        ("deep_objects", "more than 16 lists and objects in each other"),
        ("deep_lists", "more than 16 lists and objects in each other"),
        ("one_large_text", "upload: mime_type is missing"),
        ("many_large_texts", "pause: there is no argument '0'"),
        ("a_large_name", "the name of the data manager has 1000000 bytes, and may have 4096"),
        ("no_text", "a text that is not UTF-8"),
        ("cut_off", "not a protobuf message"),
    ],
)
async def test_a_request_that_is_costly_to_read_is_an_error_that_says_why(
    channel: Channel, shape: str, told: str
) -> None:
    status, message = await refused(channel, SHAPES[shape](random.Random(1), "data"))
    assert status is Status.INVALID_ARGUMENT and told in message
    await nothing_reserved()


async def test_whatever_comes_the_service_answers_and_keeps_no_memory_of_it(channel: Channel) -> None:
    for message in itertools.islice(requests(random.Random(7)), 80):
        try:
            await send(channel, message)
        except GRPCError as error:
            assert error.status in (
                Status.INVALID_ARGUMENT,
                Status.NOT_FOUND,
                Status.ABORTED,
                Status.RESOURCE_EXHAUSTED,
            ), error
            assert len(str(error.message)) <= 2_000
        await nothing_reserved()
    assert (await DataManagerClient("data", channel).get_status())["running"] is True


@pytest.mark.parametrize("shape", ["one_large_text", "many_large_texts", "a_million_parameters", "cut_off"])
async def test_a_refused_request_is_gone_from_memory_at_once(channel: Channel, shape: str) -> None:
    """And not only when Python collects garbage, before which others would find no room."""
    messages = [SHAPES[shape](random.Random(1), name) for name in ("data", "no such data manager")]
    gc.collect()
    gc.disable()
    try:
        for message in messages:
            await refused(channel, message)
            await nothing_reserved()
    finally:
        gc.enable()


async def test_the_event_loop_decodes_no_request_and_encodes_no_answer(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            threads.add(threading.current_thread().name)
            return function(*arguments)

        return noted

    for name in ("_command", "_name", "_upload", "_with_result"):
        monkeypatch.setattr(messages_module, name, noting(getattr(messages_module, name)))
    client = DataManagerClient("data", channel)
    await client.do_command({"command": "status"})
    await client.get_status()
    await client.upload_binary_data_to_datasets(b"x", [], [], MimeType.MIME_TYPE_IMAGE_PNG)
    await client.sync()
    assert all(name.startswith("holdfast-off-loop") for name in threads) and threads


async def test_the_event_loop_puts_no_large_request_together_in_one_go(
    channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes_bytes: list[int] = []
    read = Buffer.read

    async def noting(self: Buffer, size: int) -> bytes:
        sizes_bytes.append(size)
        return await read(self, size)

    monkeypatch.setattr(Buffer, "read", noting)
    data = random.Random(1).randbytes(8 * MiB + 7)
    await DataManagerClient("data", channel).upload_binary_data_to_datasets(
        data, [], [], MimeType.MIME_TYPE_IMAGE_PNG
    )
    assert max(sizes_bytes) <= MiB and sum(sizes_bytes) > len(data)
    assert data in [path.read_bytes() for path in (tmp_path / "cloud").rglob("*") if path.is_file()]


async def test_others_have_a_turn_between_the_pieces_of_a_request_that_has_come_already() -> None:
    turns, turn_of_piece = 0, []

    class Come:
        async def recv_data(self, size: int) -> bytes:
            turn_of_piece.append(turns)
            return bytes(size)

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.ensure_future(others())
    size_bytes = 3 * messages_module.PIECE_BYTES + 1
    connection: Any = Come()
    assert bytes(await messages_module._content(connection, size_bytes)) == bytes(size_bytes)
    running.cancel()
    assert len(set(turn_of_piece)) == len(turn_of_piece) == 4


async def test_the_status_is_told_while_every_worker_thread_waits_for_a_disk(channel: Channel) -> None:
    go_on = threading.Event()
    waiting = [asyncio.create_task(asyncio.to_thread(go_on.wait, 30)) for _ in range(64)]
    try:
        assert (await DataManagerClient("data", channel).get_status())["running"] is True
    finally:
        go_on.set()
        await asyncio.gather(*waiting)


async def test_the_arguments_of_a_command_are_bounded_beside_the_data_that_it_brings(channel: Channel) -> None:
    many = b"".join(entry(f"{number}", text("x" * 60_000)) for number in range(5))
    status, message = await refused(channel, request("data", entry("command", text("status")), many))
    assert status is Status.INVALID_ARGUMENT and f"and may have {MAX_SMALL_BYTES}" in message
    tags = b"".join(field(3, b"t" * 1_000) for _ in range(300))
    status, message = await refused(channel, field(2, b"data") + tags, "UploadBinaryDataToDatasets")
    assert status is Status.INVALID_ARGUMENT and f"and may have {MAX_SMALL_BYTES}" in message


@pytest.mark.parametrize(
    ("rpc", "most_bytes"),
    [
        ("DoCommand", MAX_REQUEST_BYTES),
        ("UploadBinaryDataToDatasets", MAX_REQUEST_BYTES),
        ("Sync", MAX_SMALL_BYTES),
        ("GetStatus", MAX_SMALL_BYTES),
    ],
)
async def test_a_request_that_is_too_large_is_not_even_read(channel: Channel, rpc: str, most_bytes: int) -> None:
    status, message = await refused(channel, bytes(most_bytes + 1), rpc)
    assert status is Status.INVALID_ARGUMENT
    assert message == f"the request has {most_bytes + 1} bytes, and may have {most_bytes}"
    assert (await DataManagerClient("data", channel).get_status())["running"] is True


async def test_the_data_of_all_requests_has_one_budget_and_what_is_beyond_it_is_not_read(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = DataManagerClient("data", channel)
    held = ATTACHMENTS.reserve(ATTACHMENTS.most_bytes - 1 * MiB)
    for message, rpc in (
        (upload_of(bytes(2 * MiB)), "DoCommand"),
        (field(2, bytes(2 * MiB)), "UploadBinaryDataToDatasets"),
    ):
        status, told = await refused(channel, message, rpc)
        assert status is Status.RESOURCE_EXHAUSTED and "may bring 64.0 MiB together" in told
    await client.upload_binary_data_to_datasets(b"small", [], [], MimeType.MIME_TYPE_IMAGE_PNG)
    del held
    await client.upload_binary_data_to_datasets(bytes(2 * MiB), [], [], MimeType.MIME_TYPE_IMAGE_PNG)
    await nothing_reserved()


@pytest.mark.parametrize("by_command", [True, False])
async def test_data_is_in_memory_no_longer_than_until_it_is_on_the_disk(
    channel: Channel, process: Process, cloud: LocalCloud, by_command: bool
) -> None:
    """However long the cloud takes to answer, or if it never does."""
    never = asyncio.Event()
    cloud.before_answer = never.wait
    count, size_bytes = 12, 8 * MiB

    def message(number: int) -> bytes:
        data = bytes([number]) * size_bytes
        return upload_of(data) if by_command else field(1, b"data") + field(2, data)

    rpc = "DoCommand" if by_command else "UploadBinaryDataToDatasets"
    waiting = []
    for number in range(count):
        waiting.append(asyncio.create_task(send(channel, message(number), rpc)))
        await eventually(lambda: len(kept_files(process)) == len(waiting))
    await nothing_reserved()
    gc.collect()
    large = [each for each in gc.get_objects() if isinstance(each, Attachment) and each._content is not None]
    assert large == []
    jobs = process.manager.jobs.all()
    assert [job.done for job in jobs] == [False] * count
    for job in jobs:
        job.cancel("cancelled by command")
    for task in waiting:
        with pytest.raises(GRPCError, match="do not send it again"):
            await task


async def test_a_caller_that_goes_in_the_middle_leaves_nothing_behind(channel: Channel, process: Process) -> None:
    method = UnaryUnaryMethod(channel, f"{SERVICE}/DoCommand", Bytes, Bytes)
    gc.collect()
    gc.disable()  # nothing may wait for a garbage collection
    for part in (0, 3, 5, 1_000, 300_000):
        async with method.open() as stream:
            whole = upload_of(b"x" * MiB)
            await stream.send_request()
            prefix = b"\0" + len(whole).to_bytes(4, "big")
            await stream._stream.send_data((prefix + whole)[:part] if part else b"")
            await stream.cancel()
    try:
        await nothing_reserved()
    finally:
        gc.enable()
    await eventually(lambda: buffered_bytes() < 10_000)
    assert process.manager.jobs.all() == []
    assert (await DataManagerClient("data", channel).get_status())["running"] is True


async def test_a_thousand_commands_at_once_are_all_answered(channel: Channel) -> None:
    client = DataManagerClient("data", channel)
    commands: list[dict[str, Any]] = [
        {"command": "status"},
        {"command": "job"},
        {"command": "pause", "what": "nobody"},
        {"command": 1.0},
    ]
    answers = await asyncio.gather(
        *(client.do_command(commands[number % 4]) for number in range(1_000)), return_exceptions=True
    )
    assert [isinstance(each, dict) for each in answers] == [number % 4 < 2 for number in range(1_000)]
    assert {each.status for each in answers if isinstance(each, GRPCError)} == {Status.INVALID_ARGUMENT}


async def test_no_answer_is_larger_than_a_client_takes_and_what_is_left_out_is_said(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAX_SEQUENCE_BYTES", "MAX_OPEN_BYTES"):
        monkeypatch.setattr(sequence_limits, name, 100 * MiB)
    client = DataManagerClient("data", channel)
    tags = ["\u202e" * 1_000] * 80
    for _ in range(12):
        await client.do_command({"command": "start_sequence", "resources": [PAIR], "tags": tags})
    for message, rpc in (
        (request("data", entry("command", text("status"))), "DoCommand"),
        (field(1, b"data"), "GetStatus"),
    ):
        answer = await send(channel, message, rpc)
        assert len(answer) <= MAX_BYTES
        found = plain(DoCommandResponse.FromString(answer).result.fields)
        shown, not_shown = found["steering"]["sequences"], found["not_shown"]
        assert shown and all(len(each["tags"]) > 5 for each in shown) and found["running"] is True
        assert len(shown) + not_shown.get("steering.sequences", 0) == 12
        assert sum(len(each["tags"]) for each in shown) + not_shown["steering.sequences[].tags"] == len(shown) * 80


async def test_a_name_that_no_data_manager_has_is_an_error_that_fits_into_an_answer(channel: Channel) -> None:
    for name in ("other", "o\n\x1b[2J" * 500):
        status, message = await refused(channel, request(name, entry("command", text("status"))))
        assert status is Status.NOT_FOUND and message.isprintable() and len(message) < 1_000
