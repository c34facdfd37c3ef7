"""The service as a host of SDK objects uses it: without a parent's socket, over its real RPC service."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct, Value
from grpclib import GRPCError, Status
from grpclib.testing import ChannelFor
from viam.components.audio_in import AudioIn, AudioInfo, AudioResponse
from viam.components.component_base import ComponentBase
from viam.components.sensor import Sensor
from viam.proto.app.datasync import MimeType, UploadMetadata
from viam.proto.app.robot import ComponentConfig
from viam.proto.common import DoCommandRequest, GetStatusRequest, ResourceName
from viam.proto.component.audioin import AudioChunk
from viam.proto.service.datamanager import DataManagerServiceStub
from viam.resource.base import ResourceBase
from viam.resource.manager import ResourceManager
from viam.resource.types import API
from viam.streams import StreamWithIterator
from viam.utils import dict_to_struct, struct_to_dict

from demo.cloud import LocalCloud
from holdfast import config as config_module
from holdfast.base.bounded import Listed
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.base.jobs import Job
from holdfast.base.protobuf_values import plain
from holdfast.commands import COMMANDS, HELP
from holdfast.config import FormerFolder, Host
from holdfast.storage.lock import FolderLock
from holdfast.sync.manual import SyncReport
from module import durable
from module.data_manager import DataManager, DataManagerClient
from module.data_manager.service import DataManagerRPCService
from module.durable import Durable, Process
from tests.waiting import eventually

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "commands.md"
COMMAND = {"docommand_input": {"nothing": None, "list": [None, 1.0, True, {"deep": None}]}}


class Thermometer(Sensor):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked: list[Mapping[str, Any] | None] = []
        self.broken = False

    async def get_readings(
        self, *, extra: Mapping[str, Any] | None = None, timeout: float | None = None, **kwargs: Any
    ) -> Mapping[str, Any]:
        self.asked.append(extra)
        if self.broken:
            raise RuntimeError("out of mercury")
        return {"celsius": 21.5}


class Microphone(AudioIn):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked: list[tuple[str, int]] = []

    async def get_audio(
        self,
        codec: str,
        duration_seconds: float,
        previous_timestamp_ns: int,
        *,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> AudioIn.AudioStream:
        self.asked.append((codec, previous_timestamp_ns))

        async def chunks() -> AsyncIterator[AudioResponse]:
            for number, data in enumerate((b"one", b"two"), 1):
                info = AudioInfo(codec=codec, sample_rate_hz=8000, num_channels=1)
                chunk = AudioChunk(audio_data=data, audio_info=info, end_timestamp_nanoseconds=number)
                yield AudioResponse(audio=chunk, request_id="r")

        return StreamWithIterator(chunks())

    async def get_properties(self, **kwargs: Any) -> Any:
        raise NotImplementedError


class Strange(ComponentBase):
    API = API("acme", "component", "strange")


def config(folder: Path, **attributes: Any) -> ComponentConfig:
    values = {
        "capture_dir": str(folder),
        "capture_methods": [{"name": "t", "method": "Readings", "capture_frequency_hz": 100}],
        **attributes,
    }
    return ComponentConfig(name="data", api=str(DataManager.API), attributes=dict_to_struct(values))


def name_of(name: str) -> ResourceName:
    return ResourceName(namespace="rdk", type="component", subtype="sensor", name=name)


@pytest.fixture
async def process(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    process = Process()
    monkeypatch.setattr(durable, "PROCESS", process)
    yield process
    await process.end()


async def test_dependencies_given_as_objects_are_called_directly(process: Process, tmp_path: Path) -> None:
    thermometer = Thermometer("t")
    Durable.new(config(tmp_path), {name_of("t"): thermometer})
    await eventually(lambda: len(thermometer.asked) >= 3)
    assert thermometer.asked[0] == {"fromDataManagement": True}
    await process.end()
    assert len(list(tmp_path.rglob("*.capture"))) == 1


async def test_a_broken_object_is_an_error_of_its_own(process: Process, tmp_path: Path) -> None:
    thermometer = Thermometer("t")
    thermometer.broken = True
    service = Durable.new(config(tmp_path), {name_of("t"): thermometer})
    await eventually(lambda: len(thermometer.asked) >= 3)
    (collector,) = (await service.get_status())["capture"]["collectors"]
    assert "out of mercury" in collector["last_error"] and collector["captured"] == 0


async def test_a_stream_of_an_object_is_captured_and_an_api_of_ones_own_stops_nothing(
    process: Process, tmp_path: Path
) -> None:
    methods = [
        {"name": "mic", "method": "GetAudio", "capture_frequency_hz": 100, "additional_params": {"codec": "mp3"}}
    ]
    microphone, strange = Microphone("mic"), Strange("strange")
    name = ResourceName(namespace="rdk", type="component", subtype="audio_in", name="mic")
    Durable.new(config(tmp_path, capture_methods=methods), {name: microphone, name_of("strange"): strange})
    await eventually(lambda: len(microphone.asked) >= 3)
    await process.end()
    data = [path.read_bytes() for path in tmp_path.rglob("*.capture")]
    assert len(data) >= 2 and all(b"onetwo" in each and b"audio/mpeg" in each for each in data)
    assert microphone.asked[:3] == [("mp3", 0), ("mp3", 2), ("mp3", 2)]


async def test_a_null_in_a_config_is_none(tmp_path: Path) -> None:
    methods = [{"name": "t", "method": "DoCommand", "capture_frequency_hz": 1, "additional_params": COMMAND}]
    request = config(
        tmp_path, capture_methods=methods, sync_interval_mins=None, tags=None, mongo_capture_config=None
    )
    assert Durable.validate_config(request) == ([], ("t",))
    parsed = config_module.parse(plain(request.attributes.fields), Host("/home/user"))
    assert (parsed.problems, parsed.tags) == ((), ())
    assert dict(parsed.methods[0].params) == COMMAND


async def test_data_is_moved_out_of_the_package_once_and_an_invalid_config_does_not_prevent_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moved: list[str] = []

    def move_out(files: FileSystem, found: FormerFolder) -> str:
        moved.append(found.former)
        return f"{found.former} stays"

    monkeypatch.setattr("holdfast.storage.relocation.move_out", move_out)
    process = Process()
    process.host = Host(working_folder=str(tmp_path), module_folders=(str(tmp_path / "package"),))

    def request(**attributes: Any) -> ComponentConfig:
        return ComponentConfig(attributes=dict_to_struct({"capture_dir": "data", **attributes}))

    await process.move_out(request(sync_interval_mins=-1))
    assert moved == []
    for _ in range(2):
        await process.move_out(request())
    assert moved[0] == str(tmp_path / "package" / "data") and len(moved) == len(set(moved))
    assert f"{moved[0]} stays" in process.parse(request()).problems


async def test_validate_declares_everything_optional(tmp_path: Path) -> None:
    request = config(tmp_path, selective_syncer_name="selector")
    assert Durable.validate_config(request) == ([], ("t", "rdk:component:sensor/selector"))


async def test_validate_names_the_attribute(tmp_path: Path) -> None:
    with pytest.raises(GRPCError, match="sync_interval_mins: can't be negative") as caught:
        durable.validate(config(tmp_path, sync_interval_mins=-1))
    assert caught.value.status is Status.INVALID_ARGUMENT


async def test_the_rpcs_reach_the_service(process: Process, tmp_path: Path) -> None:
    service = Durable.new(config(tmp_path), {})
    manager = ResourceManager([service])
    async with ChannelFor([DataManagerRPCService(manager)]) as channel:
        client = DataManagerClient("data", channel)
        assert (await client.get_status())["running"] is True
        assert (await client.do_command({"command": "status"})).keys() == (await client.get_status()).keys()
        with pytest.raises(GRPCError) as caught:
            await client.do_command({"command": "statsu"})
        assert caught.value.status is Status.INVALID_ARGUMENT and "'status'" in str(caught.value.message)
        with pytest.raises(GRPCError) as caught:
            await client.sync()
        assert caught.value.status is Status.UNAVAILABLE


async def test_the_python_of_docs_commands_sends_a_command(process: Process, tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    shown: dict[str, Any] = {}
    exec(example, shown)
    service = Durable.new(config(tmp_path), {})
    async with ChannelFor([DataManagerRPCService(ResourceManager([service]))]) as channel:
        assert (await shown["send"](channel, "data", {"command": "status"}))["running"] is True
        assert "sync" in (await shown["send"](channel, "data", {"command": "help"}))["commands"]


async def test_a_null_in_a_command_is_an_argument_that_is_not_given(process: Process, tmp_path: Path) -> None:
    service = Durable.new(config(tmp_path), {name_of("t"): Thermometer("t")})
    set_frequency = {"command": "set_frequency", "resource": "t", "method": "Readings"}
    async with ChannelFor([DataManagerRPCService(ResourceManager([service]))]) as channel:
        client = DataManagerClient("data", channel)
        assert (await client.do_command({**set_frequency, "hz": 0}))["new_hz"] == 0
        assert (await client.do_command({**set_frequency, "hz": None}))["new_hz"] == 100


def nulls(fields: Mapping[str, Value], place: str = "") -> Iterator[str]:
    """The places of an answer that hold a null, or a value of no kind, which is read as one."""
    for name, value in fields.items():
        yield from nulls_of(value, f"{place}.{name}")


def nulls_of(value: Value, place: str) -> Iterator[str]:
    if value.WhichOneof("kind") in (None, "null_value"):
        yield place
    yield from nulls(value.struct_value.fields, place)
    for item in value.list_value.values:
        yield from nulls_of(item, f"{place}[]")


async def test_no_answer_holds_a_null_and_the_sdk_reads_each_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cloud = LocalCloud(tmp_path / "cloud", api_keys={"id": "key"})
    await cloud.start()
    for name, given in (("API_KEY_ID", "id"), ("API_KEY", "key"), ("MACHINE_PART_ID", "part")):
        monkeypatch.setenv(f"VIAM_{name}", given)
    process = Process()
    monkeypatch.setattr(durable, "PROCESS", process)
    capture = tmp_path / "capture"
    (capture / "failed").mkdir(parents=True)
    (capture / "failed" / "of-the-builtin.txt").write_text("it has no cause, so its readings are not known")
    request = config(capture, cloud_address=cloud.address, sync_disabled=True)
    service = Durable.new(request, {name_of("t"): Thermometer("t")})
    readings = {"resource": "t", "method": "Readings"}
    sequence: dict[str, Any] = {"command": "start_sequence", "resources": [readings]}
    commands: list[dict[str, Any]] = [
        {"command": "help"},
        {"command": "status"},
        {"command": "sync"},
        {"command": "sync", "wait": False},
        {"command": "upload", "data": "aGVsbG8=", "mime_type": "text/plain"},
        {"command": "job"},
        {"command": "job", "id": "sync-1"},
        {"command": "failed", "action": "list"},
        {"command": "failed", "action": "retry", "paths": ["/gone"]},
        {"command": "failed", "action": "discard", "paths": ["/gone"]},
        {"command": "pause", "what": "t"},
        {"command": "resume", "what": "t"},
        {"command": "set_frequency", "hz": 1, **readings},
        {"command": "set_frequency", **readings},
        {"command": "capture_now", **readings},
        sequence,
    ]
    async with ChannelFor([DataManagerRPCService(ResourceManager([service]))]) as channel:
        stub = DataManagerServiceStub(channel)

        async def answer_to(command: Mapping[str, Any]) -> Struct:
            given = DoCommandRequest(name="data", command=dict_to_struct(command))
            result: Struct = (await stub.DoCommand(given)).result
            assert list(nulls(result.fields)) == [], command
            assert struct_to_dict(result) == plain(result.fields)
            return result

        for command in commands:
            answer = await answer_to(command)
            if command is sequence:
                await answer_to({"command": "stop_sequence", "id": answer["id"]})
        assert {each["command"] for each in commands} | {"stop_sequence"} == {HELP, *COMMANDS}
        (row,) = plain((await answer_to({"command": "failed", "action": "list"})).fields)["rows"]
        assert "size_bytes" in row and "readings" not in row
        result: Struct = (await stub.GetStatus(GetStatusRequest(name="data"))).result
        assert list(nulls(result.fields)) == []
        assert "local_copy" not in plain(result.fields)["space"], "there is none"
    await process.end()
    await cloud.stop()


async def test_what_others_named_is_escaped_in_every_answer_and_error(process: Process, tmp_path: Path) -> None:
    forged, harmless = "t\n2026 ERROR forged \x1b[2J\u202e", r"t\n2026 ERROR forged \x1b[2J\u202e"
    methods = [{"name": forged, "method": "Readings", "capture_frequency_hz": 1, "additional_params": {}}]
    service = Durable.new(config(tmp_path, capture_methods=methods, upload_roots=[str(tmp_path / forged)]), {})
    async with ChannelFor([DataManagerRPCService(ResourceManager([service]))]) as channel:
        client = DataManagerClient("data", channel)
        for status in (await client.get_status(), await client.do_command({"command": "status"})):
            assert status["capture"]["waiting_for"] == [harmless]
        with pytest.raises(GRPCError) as caught:
            await client.do_command({"command": "upload", "path": "/elsewhere"})
        assert harmless in str(caught.value.message) and (caught.value.message or "").isprintable()
    with pytest.raises(GRPCError) as caught:
        durable.validate(config(tmp_path, tags=[1], **{forged: 1}, sync_interval_mins=forged))
    assert (caught.value.message or "").isprintable()


async def test_an_error_is_cut_where_it_would_not_fit_into_the_answer(process: Process, tmp_path: Path) -> None:
    paths = [f"/{number}/{'x' * 200}" for number in range(1000)]
    service = Durable.new(config(tmp_path, additional_sync_paths=paths), {})
    await eventually(lambda: process.manager.engine is not None and process.manager.engine.store.owned)
    async with ChannelFor([DataManagerRPCService(ResourceManager([service]))]) as channel:
        with pytest.raises(GRPCError) as caught:
            await DataManagerClient("data", channel).do_command({"command": "upload", "path": "/x"})
    message = str(caught.value.message)
    assert caught.value.status is Status.INVALID_ARGUMENT and message.endswith("…")
    assert message.startswith("upload: path: '/x' is not in one of upload_roots, which are: ")


@pytest.mark.parametrize(
    ("failed", "told"),
    [(["a"], "2 failed and are tried again (a), 1"), (["a", "b", "c"], "(a, b, c),"), ([*"abcd"], "(a, b, c, …),")],
)
async def test_a_sync_that_does_not_deliver_all_names_some_of_it(
    failed: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start_sync(manager: object) -> tuple[Job, SyncReport]:
        task = asyncio.create_task(asyncio.sleep(0))
        job = Job("sync-1", "sync", dict, task, SystemClock())
        return job, SyncReport(files=3, failed=Listed(2, failed), quarantined=1, last_error="UNKNOWN: no")

    monkeypatch.setattr(durable, "start_sync", start_sync)
    async with ChannelFor([DataManagerRPCService(ResourceManager([Durable("data")]))]) as channel:
        with pytest.raises(GRPCError) as caught:
            await DataManagerClient("data", channel).sync()
    assert caught.value.status is Status.ABORTED and told in str(caught.value.message)
    assert str(caught.value.message).endswith("last error: UNKNOWN: no")


async def test_an_upload_to_datasets_tells_the_true_outcome_whatever_name_it_comes_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cloud = LocalCloud(tmp_path / "cloud", api_keys={"id": "key"})
    files: list[UploadMetadata] = []
    cloud._on_file = lambda about, path: files.append(about)
    await cloud.start()
    for name, value in (("API_KEY_ID", "id"), ("API_KEY", "key"), ("MACHINE_PART_ID", "part")):
        monkeypatch.setenv(f"VIAM_{name}", value)
    process = Process()
    monkeypatch.setattr(durable, "PROCESS", process)
    capture = tmp_path / "capture"
    service = Durable.new(config(capture, cloud_address=cloud.address, capture_disabled=True), {})
    async with ChannelFor([DataManagerRPCService(ResourceManager([service]))]) as channel:
        client = DataManagerClient("", channel)
        upload = partial(client.upload_binary_data_to_datasets, b"x", ["tag"], ["set"])
        for mime_type in (
            MimeType.MIME_TYPE_UNSPECIFIED, MimeType.MIME_TYPE_IMAGE_JPEG, MimeType.MIME_TYPE_IMAGE_PNG,
            MimeType.MIME_TYPE_APPLICATION_PCD, MimeType.MIME_TYPE_VIDEO_MP4,
        ):  # fmt: skip
            await upload(mime_type)
        assert [about.file_extension for about in files] == ["", ".jpeg", ".png", ".pcd", ".mp4"]
        assert {(*about.tags, *about.dataset_ids) for about in files} == {("tag", "set")}

        cloud.fail_next(grpc.StatusCode.INVALID_ARGUMENT)
        cloud.fail_next(grpc.StatusCode.INTERNAL)
        for status, told in ((Status.UNAVAILABLE, "INVALID_ARGUMENT"), (Status.UNAVAILABLE, "kept as")):
            with pytest.raises(GRPCError) as caught:
                await upload(MimeType.MIME_TYPE_IMAGE_PNG)
            assert caught.value.status is status and told in str(caught.value.message)
        with pytest.raises(GRPCError) as caught:
            await client.upload_binary_data_to_datasets(b"", [], [], MimeType.MIME_TYPE_IMAGE_PNG)
        assert caught.value.status is Status.INVALID_ARGUMENT
    await process.end()
    await cloud.stop()


async def test_what_comes_while_another_process_has_the_folder_is_refused_and_not_kept(
    process: Process, tmp_path: Path
) -> None:
    other = FolderLock(FileSystem(), str(tmp_path))
    assert other.try_acquire()
    service = Durable.new(config(tmp_path, capture_disabled=True), {})
    async with ChannelFor([DataManagerRPCService(ResourceManager([service]))]) as channel:
        client = DataManagerClient("data", channel)
        upload = partial(client.upload_binary_data_to_datasets, b"x", [], [], MimeType.MIME_TYPE_IMAGE_PNG)
        for call in (client.sync, upload):
            with pytest.raises(GRPCError) as caught:
                await call()
            assert caught.value.status is Status.FAILED_PRECONDITION
            assert "which has the lock" in str(caught.value.message)
    other.release()
    assert not list(tmp_path.rglob("*.png"))


async def test_close_and_new_hand_over(process: Process, tmp_path: Path) -> None:
    thermometer: ResourceBase = Thermometer("t")
    first = Durable.new(config(tmp_path), {name_of("t"): thermometer})
    engine = process.manager.engine
    await first.close()
    Durable.new(config(tmp_path), {name_of("t"): thermometer})
    assert process.manager.engine is engine
