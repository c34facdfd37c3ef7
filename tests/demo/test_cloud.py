"""What the other tests rely on when they take the local cloud's word."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from viam.proto.app.data import CreateSequenceRequest, CreateSequenceResponse
from viam.proto.app.datasync import (
    DataCaptureUploadMetadata,
    DataCaptureUploadRequest,
    DataCaptureUploadResponse,
    DataType,
    FileData,
    FileUploadRequest,
    FileUploadResponse,
    SensorData,
    SensorMetadata,
    StreamingDataCaptureUploadRequest,
    StreamingDataCaptureUploadResponse,
    UploadMetadata,
)
from viam.proto.app.robot import ConfigRequest, ConfigResponse, RobotConfig
from viam.proto.rpc.auth import AuthenticateRequest, AuthenticateResponse, Credentials

from demo.cloud import LocalCloud

SYNC = "/viam.app.datasync.v1.DataSyncService"
TIMES = SensorMetadata(
    time_requested=Timestamp(seconds=1_700_000_000, nanos=5),
    time_received=Timestamp(seconds=1_700_000_001, nanos=120_000_000),
)


class Client:
    """What an uploader does, one method per call."""

    def __init__(self, cloud: LocalCloud) -> None:
        # A subchannel shared with another client would share that one's back-off after a lost connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        target = cloud.address.removeprefix("http://")
        self._channel = grpc.aio.insecure_channel(target, options)
        self._streams = grpc.insecure_channel(target, options)
        self.headers: tuple[tuple[str, str], ...] = ()

    async def close(self) -> None:
        await self._channel.close()
        self._streams.close()

    async def log_in(self, entity: str = "id", payload: str = "key", kind: str = "api-key") -> None:
        request = AuthenticateRequest(entity=entity, credentials=Credentials(type=kind, payload=payload))
        response = await self._unary("/proto.rpc.v1.AuthService/Authenticate", request, AuthenticateResponse)
        self.headers = (("authorization", f"Bearer {response.access_token}"),)

    async def upload(self, metadata: UploadMetadata, *readings: SensorData) -> None:
        request = DataCaptureUploadRequest(metadata=metadata, sensor_contents=readings)
        await self._unary(f"{SYNC}/DataCaptureUpload", request, DataCaptureUploadResponse)

    async def upload_file(self, metadata: UploadMetadata, *chunks: bytes) -> None:
        """By the synchronous API: with the other one an error of its own may stand in the place of an answer that
        comes before the stream has ended."""
        requests = [FileUploadRequest(metadata=metadata)]
        requests += [FileUploadRequest(file_contents=FileData(data=chunk)) for chunk in chunks]
        method = _file_upload(self._streams)
        await asyncio.to_thread(method, iter(requests), metadata=self.headers, timeout=10)

    def open_file_upload(self) -> Any:
        return _file_upload(self._channel)(metadata=self.headers)

    async def upload_streamed(self, metadata: UploadMetadata, *chunks: bytes) -> None:
        head = DataCaptureUploadMetadata(upload_metadata=metadata, sensor_metadata=TIMES)
        requests = [StreamingDataCaptureUploadRequest(metadata=head)]
        requests += [StreamingDataCaptureUploadRequest(data=chunk) for chunk in chunks]
        method = self._channel.stream_unary(
            f"{SYNC}/StreamingDataCaptureUpload",
            request_serializer=StreamingDataCaptureUploadRequest.SerializeToString,
            response_deserializer=StreamingDataCaptureUploadResponse.FromString,
        )
        await method(iter(requests), metadata=self.headers)

    async def create_sequence(self, part_id: str) -> CreateSequenceResponse:
        path = "/viam.app.data.v1.DataService/CreateSequence"
        response: CreateSequenceResponse = await self._unary(
            path, CreateSequenceRequest(part_id=part_id), CreateSequenceResponse
        )
        return response

    async def config(self) -> RobotConfig:
        path = "/viam.app.v1.RobotService/Config"
        response: ConfigResponse = await self._unary(path, ConfigRequest(id="demo-part"), ConfigResponse)
        return response.config

    async def _unary(self, path: str, request: Any, response: Any) -> Any:
        method = self._channel.unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
        )
        return await method(request, metadata=self.headers, timeout=10)


def _file_upload(channel: grpc.Channel | grpc.aio.Channel) -> Any:
    return channel.stream_unary(
        f"{SYNC}/FileUpload",
        request_serializer=FileUploadRequest.SerializeToString,
        response_deserializer=FileUploadResponse.FromString,
    )


Connect = Callable[[LocalCloud], Client]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    clients: list[Client] = []

    def make(cloud: LocalCloud) -> Client:
        clients.append(Client(cloud))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[LocalCloud]:
    cloud = LocalCloud(tmp_path / "cloud", api_keys={"id": "key"})
    await cloud.start()
    yield cloud
    await cloud.stop()


@pytest.fixture
async def client(cloud: LocalCloud, connect: Connect) -> Client:
    client = connect(cloud)
    await client.log_in()
    return client


def tabular(**values: Any) -> SensorData:
    struct = Struct()
    struct.update(values)
    return SensorData(metadata=TIMES, struct=struct)


def of_sensor(**fields: Any) -> UploadMetadata:
    return UploadMetadata(
        part_id="demo-part",
        component_type="rdk:component:sensor",
        component_name="temp",
        method_name="Readings",
        type=DataType.DATA_TYPE_TABULAR_SENSOR,
        **fields,
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def refusal(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return caught.value.code()


async def test_every_reading_of_a_call_becomes_a_line(cloud: LocalCloud, client: Client, tmp_path: Path) -> None:
    nested = tabular(seq=2, list=[1.5, None, "x", True], nested={"a": float("nan")})
    await client.upload(of_sensor(tags=["t"]), tabular(seq=1), nested)
    rows = lines(tmp_path / "cloud/readings/temp/Readings.jsonl")
    assert rows[0] == {
        "time_requested": "2023-11-14T22:13:20.000000005Z",
        "time_received": "2023-11-14T22:13:21.120000000Z",
        "data": {"seq": 1},
        "tags": ["t"],
        "component_type": "rdk:component:sensor",
        "part_id": "demo-part",
    }
    assert rows[1]["data"] == {"seq": 2, "list": [1.5, None, "x", True], "nested": {"a": "nan"}}
    assert (cloud.readings_count, cloud.calls["DataCaptureUpload"]) == (2, 1)
    assert cloud.bytes_count > 0


async def test_binary_payloads_of_one_moment_are_all_kept(
    cloud: LocalCloud, client: Client, tmp_path: Path
) -> None:
    metadata = UploadMetadata(component_name="cam", method_name="GetImages", mime_type="image/jpeg")
    await client.upload(metadata, SensorData(metadata=TIMES, binary=b"one"))
    await client.upload_streamed(metadata, b"tw", b"o")
    folder = tmp_path / "cloud/binary/cam/GetImages"
    time = "2023-11-14T22:13:20.000000005Z"
    assert (folder / f"{time}.jpeg").read_bytes() == b"one"
    assert (folder / f"{time}~2.jpeg").read_bytes() == b"two"
    rows = lines(tmp_path / "cloud/binary.jsonl")
    assert [row["sha256"] for row in rows] == [hashlib.sha256(data).hexdigest() for data in (b"one", b"two")]
    assert [row["stored"] for row in rows] == [
        f"binary/cam/GetImages/{time}.jpeg",
        f"binary/cam/GetImages/{time}~2.jpeg",
    ]
    assert cloud.readings_count == 2


async def test_a_call_that_mixes_kinds_is_refused_whole(client: Client, tmp_path: Path) -> None:
    binary = SensorData(metadata=TIMES, binary=b"x")
    assert await refusal(client.upload(of_sensor(), tabular(seq=1), binary)) is grpc.StatusCode.INVALID_ARGUMENT
    assert files_in(tmp_path / "cloud") == []


async def test_a_file_arrives_with_all_that_was_said_of_it(
    cloud: LocalCloud, client: Client, tmp_path: Path
) -> None:
    metadata = UploadMetadata(
        part_id="demo-part",
        type=DataType.DATA_TYPE_FILE,
        file_name="/data/logs/app.log",
        file_extension=".log",
        file_create_time=TIMES.time_requested,
        file_modify_time=TIMES.time_received,
        tags=["a", "b"],
        dataset_ids=["d"],
    )
    await client.upload_file(metadata, b"hello ", b"world")
    assert (tmp_path / "cloud/files/app.log").read_bytes() == b"hello world"
    (row,) = lines(tmp_path / "cloud/files.jsonl")
    assert row["file_name"] == "/data/logs/app.log"
    assert row["file_extension"] == ".log"
    assert (row["tags"], row["dataset_ids"]) == (["a", "b"], ["d"])
    assert (row["size"], row["sha256"]) == (11, hashlib.sha256(b"hello world").hexdigest())
    assert row["create_time"] == "2023-11-14T22:13:20.000000005Z"
    assert row["modify_time"] == "2023-11-14T22:13:21.120000000Z"
    assert row["stored"] == "files/app.log"
    assert (cloud.files_count, cloud.bytes_count) == (1, 11)


async def test_a_second_file_of_a_name_replaces_nothing(client: Client, tmp_path: Path) -> None:
    await client.upload_file(UploadMetadata(file_name="/a/app.log"), b"first")
    await client.upload_file(UploadMetadata(file_name="/b/app.log"), b"second")
    folder = tmp_path / "cloud/files"
    assert {name: (folder / name).read_bytes() for name in files_in(folder)} == {
        "app.log": b"first",
        "app.log~2": b"second",
    }


@pytest.mark.parametrize("name", ["..", "/", "", "../../escaped", "x" * 255])
async def test_no_name_leaves_the_folder(client: Client, tmp_path: Path, name: str) -> None:
    await client.upload_file(UploadMetadata(file_name=name), b"data")
    await client.upload(UploadMetadata(component_name=name, method_name=name), tabular(seq=1))
    (row,) = lines(tmp_path / "cloud/files.jsonl")
    assert row["stored"].startswith("files/")
    assert (tmp_path / "cloud" / row["stored"]).read_bytes() == b"data"
    assert [path.name for path in tmp_path.iterdir()] == ["cloud"]
    assert len(files_in(tmp_path / "cloud/readings")) == 1


async def test_a_stream_that_is_cut_leaves_nothing(cloud: LocalCloud, client: Client, tmp_path: Path) -> None:
    # Many at once: one alone is recognised by chance most of the time.
    streams_count = 50
    all_at_server = asyncio.Event()

    def seen(*_: object) -> None:
        if cloud.calls["FileUpload"] == streams_count:
            all_at_server.set()

    cloud.fail_while = seen
    calls = [client.open_file_upload() for _ in range(streams_count)]
    for call in calls:
        await call.write(FileUploadRequest(metadata=UploadMetadata(file_name="cut.log")))
        await call.write(FileUploadRequest(file_contents=FileData(data=b"half")))
    await all_at_server.wait()
    for call in calls:
        call.cancel()
    await cloud.stop(grace_s=5)
    assert files_in(tmp_path / "cloud") == []
    assert cloud.files_count == 0


async def test_leftovers_of_a_killed_cloud_are_cleared(tmp_path: Path) -> None:
    leftover = tmp_path / "cloud/.incoming/half"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    LocalCloud(tmp_path / "cloud")
    assert not leftover.exists()


async def test_a_stream_without_metadata_is_invalid(client: Client) -> None:
    call = client.open_file_upload()
    await call.write(FileUploadRequest(file_contents=FileData(data=b"x")))
    await call.done_writing()
    assert await refusal(call) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_sequence_is_kept(client: Client, tmp_path: Path) -> None:
    assert (await client.create_sequence("demo-part")).id
    assert lines(tmp_path / "cloud/sequences.jsonl") == [{"part_id": "demo-part"}]


async def test_only_the_right_key_logs_in(cloud: LocalCloud, connect: Connect) -> None:
    client = connect(cloud)
    assert await refusal(client.log_in(payload="wrong")) is grpc.StatusCode.UNAUTHENTICATED
    assert await refusal(client.log_in(entity="other")) is grpc.StatusCode.UNAUTHENTICATED
    assert await refusal(client.log_in(kind="external")) is grpc.StatusCode.UNAUTHENTICATED
    await client.log_in()
    await client.upload(of_sensor(), tabular(seq=1))


async def test_viam_server_logs_in_with_its_secret(cloud: LocalCloud, connect: Connect) -> None:
    client = connect(cloud)
    await client.log_in(entity="demo-part", payload="anything", kind="robot-secret")
    await client.config()


async def test_without_keys_everybody_logs_in(tmp_path: Path, connect: Connect) -> None:
    cloud = LocalCloud(tmp_path)
    await cloud.start()
    client = connect(cloud)
    await client.log_in(entity="who", payload="ever")
    await client.upload(of_sensor(), tabular(seq=1))
    await cloud.stop()


async def test_uploads_need_a_token_and_revoked_ones_are_refused(
    cloud: LocalCloud, client: Client, connect: Connect, tmp_path: Path
) -> None:
    stranger = connect(cloud)
    assert await refusal(stranger.upload(of_sensor(), tabular(seq=1))) is grpc.StatusCode.UNAUTHENTICATED
    file = stranger.upload_file(UploadMetadata(file_name="x"), b"data")
    assert await refusal(file) is grpc.StatusCode.UNAUTHENTICATED
    cloud.revoke_tokens()
    assert await refusal(client.upload(of_sensor(), tabular(seq=1))) is grpc.StatusCode.UNAUTHENTICATED
    assert files_in(tmp_path / "cloud") == []
    await client.log_in()
    await client.upload(of_sensor(), tabular(seq=1))


async def test_the_next_uploads_fail_as_asked(cloud: LocalCloud, client: Client, tmp_path: Path) -> None:
    cloud.fail_next(grpc.StatusCode.UNAVAILABLE, 2)
    await client.config()  # no upload, so it costs no fault
    upload = client.upload(of_sensor(), tabular(seq=1))
    assert await refusal(upload) is grpc.StatusCode.UNAVAILABLE
    file = client.upload_file(UploadMetadata(file_name="x"), b"data")
    assert await refusal(file) is grpc.StatusCode.UNAVAILABLE
    assert files_in(tmp_path / "cloud") == []
    assert cloud.readings_count == 0
    await client.upload(of_sensor(), tabular(seq=1))
    assert cloud.calls["DataCaptureUpload"] == 2


async def test_a_fault_may_be_meant_for_one_method(cloud: LocalCloud, client: Client) -> None:
    cloud.fail_next(grpc.StatusCode.INTERNAL, 1, "Authenticate")
    await client.upload(of_sensor(), tabular(seq=1))
    assert await refusal(client.log_in()) is grpc.StatusCode.INTERNAL
    await client.log_in()


async def test_a_fault_may_depend_on_the_request(cloud: LocalCloud, client: Client) -> None:
    def poison(_: str, request: bytes | None) -> grpc.StatusCode | None:
        return grpc.StatusCode.INVALID_ARGUMENT if request and b"poison" in request else None

    cloud.fail_while = poison
    bad = client.upload(of_sensor(), tabular(word="poison"))
    assert await refusal(bad) is grpc.StatusCode.INVALID_ARGUMENT
    file = client.upload_file(UploadMetadata(file_name="poison.log"), b"data")
    assert await refusal(file) is grpc.StatusCode.INVALID_ARGUMENT
    await client.upload(of_sensor(), tabular(word="fine"))
    assert cloud.readings_count == 1


async def test_an_upload_is_stored_before_it_is_answered(cloud: LocalCloud, client: Client, tmp_path: Path) -> None:
    stored, may_answer = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        stored.set()
        await may_answer.wait()

    cloud.before_answer = hold
    upload = asyncio.create_task(client.upload(of_sensor(), tabular(seq=1)))
    await stored.wait()
    assert len(lines(tmp_path / "cloud/readings/temp/Readings.jsonl")) == 1
    assert not upload.done()
    may_answer.set()
    await upload


async def test_a_message_over_the_limit_is_refused(tmp_path: Path, connect: Connect) -> None:
    cloud = LocalCloud(tmp_path, max_message_bytes=1000)
    await cloud.start()
    client = connect(cloud)
    await client.log_in()
    big = client.upload(of_sensor(), tabular(text="x" * 1000))
    assert await refusal(big) is grpc.StatusCode.RESOURCE_EXHAUSTED
    await cloud.stop()


async def test_the_hooks_hear_of_all_that_is_accepted(tmp_path: Path, connect: Connect) -> None:
    heard: list[tuple[str, object]] = []
    cloud = LocalCloud(
        tmp_path,
        on_reading=lambda metadata, reading: heard.append((metadata.component_name, reading.struct["seq"])),
        on_file=lambda metadata, path: heard.append((metadata.file_name, path.read_bytes())),
    )
    await cloud.start()
    client = connect(cloud)
    await client.log_in()
    await client.upload(of_sensor(), tabular(seq=1), tabular(seq=2))
    await client.upload_file(UploadMetadata(file_name="x.log"), b"data")
    assert heard == [("temp", 1), ("temp", 2), ("x.log", b"data")]
    await cloud.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[bytes, bytes]:
    """A certificate for 127.0.0.1 and its key."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 1 -subj /CN=localhost"
    alternative = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *alternative, *files], check=True, capture_output=True)
    return certificate.read_bytes(), key.read_bytes()


async def test_it_serves_tls(tmp_path: Path, certificate: tuple[bytes, bytes]) -> None:
    cloud = LocalCloud(tmp_path / "cloud", tls=certificate)
    await cloud.start()
    assert cloud.address.startswith("https://127.0.0.1:")
    credentials = grpc.ssl_channel_credentials(certificate[0])
    async with grpc.aio.secure_channel(cloud.address.removeprefix("https://"), credentials) as channel:
        call: Any = channel.unary_unary("/proto.rpc.v1.AuthService/Authenticate")
        assert AuthenticateResponse.FromString(await call(b"")).access_token
    await cloud.stop()


async def test_it_comes_back_at_the_same_address_and_knows_its_clients(
    cloud: LocalCloud, client: Client, connect: Connect
) -> None:
    address = cloud.address
    await client.upload(of_sensor(), tabular(seq=1))
    await cloud.stop()
    assert await refusal(client.upload(of_sensor(), tabular(seq=2))) is grpc.StatusCode.UNAVAILABLE
    await cloud.start()
    assert cloud.address == address
    same = connect(cloud)
    same.headers = client.headers
    await same.upload(of_sensor(), tabular(seq=3))
    assert cloud.readings_count == 2


async def test_a_port_that_is_taken_is_an_error(cloud: LocalCloud, tmp_path: Path) -> None:
    second = LocalCloud(tmp_path / "second", port=int(cloud.address.rsplit(":", 1)[1]))
    with pytest.raises(RuntimeError):
        await second.start()


async def test_the_machine_config_becomes_what_viam_server_reads(cloud: LocalCloud, client: Client) -> None:
    cloud.set_machine_config(
        {
            "components": [
                {
                    "name": "temp",
                    "api": "rdk:component:sensor",
                    "model": "fake",
                    "attributes": {"x": 1},
                    "service_configs": [
                        {"type": "data_manager", "attributes": {"capture_methods": [{"method": "Readings"}]}}
                    ],
                },
                {"name": "old", "type": "sensor", "model": "fake"},
            ],
            "services": [
                {"name": "data", "api": "rdk:service:data_manager", "model": "a:b:c", "depends_on": ["temp"]}
            ],
            "modules": [{"name": "m", "type": "local", "executable_path": "/x/run.sh", "env": {"A": "1"}}],
            "network": {"bind_address": "127.0.0.1:1"},
        }
    )
    config = await client.config()
    temp, old = config.components
    assert (temp.name, temp.api, temp.model, temp.attributes["x"]) == ("temp", "rdk:component:sensor", "fake", 1)
    assert temp.service_configs[0].type == "data_manager"
    capture = MessageToDict(temp.service_configs[0].attributes)
    assert capture == {"capture_methods": [{"method": "Readings"}]}
    assert old.api == "rdk:component:sensor"
    assert (config.services[0].api, list(config.services[0].depends_on)) == ("rdk:service:data_manager", ["temp"])
    assert (config.modules[0].path, dict(config.modules[0].env)) == ("/x/run.sh", {"A": "1"})
    assert config.network.bind_address == "127.0.0.1:1"
    assert config.cloud.id == "demo-part"
    assert MessageToDict(config.auth.handlers[0].config) == {"id": "key", "keys": ["id"]}


async def test_a_config_key_that_would_be_lost_is_refused(cloud: LocalCloud) -> None:
    with pytest.raises(ValueError, match="frame"):
        cloud.set_machine_config(
            {"components": [{"name": "a", "api": "a:b:c", "model": "fake", "frame": {"parent": "world"}}]}
        )
    with pytest.raises(ValueError, match="procesess"):
        cloud.set_machine_config({"procesess": []})
