from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from demo.cloud import LocalCloud
from demo.link import Link as Cable
from holdfast.errors import CloudError, LoginError, StorageError
from holdfast.sync.cloud.cloud import Cloud, CloudSettings
from holdfast.sync.cloud.replies import FILE_UPLOAD
from holdfast.sync.cloud.token import Token
from holdfast.sync.delivery.calls import file_contents, file_metadata
from holdfast.sync.way import tcp

from ..delivery.test_calls import found

SECRET = "a-very-secret-key"


def settings(address: str, key: str = SECRET) -> CloudSettings:
    return CloudSettings(address, False, "part", "id", key)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalCloud]:
    server = LocalCloud(tmp_path, api_keys={"id": SECRET})
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def cloud(server: LocalCloud) -> AsyncIterator[Cloud]:
    cloud = Cloud(settings(server.address))
    yield cloud
    await cloud.close()


async def test_it_logs_in_with_the_machines_key_and_uploads(cloud: Cloud, server: LocalCloud) -> None:
    await cloud.connect()
    await cloud.upload_capture(b"")
    assert server.calls["DataCaptureUpload"] == 1


async def test_a_wrong_key_is_refused_and_stands_in_no_error(server: LocalCloud) -> None:
    wrong = settings(server.address, key="wrong-secret")
    cloud = Cloud(wrong)
    with pytest.raises(CloudError) as caught:
        await cloud.connect()
    assert caught.value.code in ("UNAUTHENTICATED", "PERMISSION_DENIED")
    assert "wrong-secret" not in repr(caught.value) + repr(wrong)
    await cloud.close()


async def test_a_token_that_the_cloud_forgot_is_renewed_without_a_failure(cloud: Cloud, server: LocalCloud) -> None:
    await cloud.connect()
    server.revoke_tokens()
    await asyncio.gather(*(cloud.upload_capture(b"") for _ in range(5)))
    assert server.calls["Authenticate"] == 2


async def test_a_stream_is_sent_again_from_its_beginning_after_a_renewal(
    cloud: Cloud, server: LocalCloud, tmp_path: Path
) -> None:
    await cloud.connect()
    server.revoke_tokens()

    def messages() -> Iterator[bytes]:
        yield file_metadata(found("/x/a.txt"), "part", ())
        yield file_contents(b"hello")

    await cloud.upload_stream(FILE_UPLOAD, messages)
    assert server.files_count == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE])
async def test_an_answer_before_the_end_of_a_stream_is_the_clouds_own(
    cloud: Cloud, server: LocalCloud, code: grpc.StatusCode
) -> None:
    await cloud.connect()

    def messages() -> Iterator[bytes]:
        yield file_metadata(found("/x/a.txt"), "part", ())
        for _ in range(1000):
            yield file_contents(bytes(64 * 1024))

    for _ in range(10):
        server.fail_next(code, 1)
        with pytest.raises(CloudError) as caught:
            await cloud.upload_stream(FILE_UPLOAD, messages)
        assert (caught.value.code, caught.value.connected) == (code.name, True)


@pytest.mark.parametrize(
    "error",
    [StorageError("read", "/x/a.txt", OSError(5, "Input/output error")), ValueError("nobody foresaw this")],
    ids=["foreseen", "unforeseen"],
)
async def test_a_file_that_can_not_be_read_while_it_is_sent_is_that_error_and_arrives_not(
    cloud: Cloud, server: LocalCloud, error: Exception
) -> None:
    await cloud.connect()

    def messages() -> Iterator[bytes]:
        yield file_metadata(found("/x/a.txt"), "part", ())
        yield file_contents(b"half")
        raise error

    with pytest.raises(type(error)):
        await cloud.upload_stream(FILE_UPLOAD, messages)
    assert server.files_count == 0


async def test_an_answer_of_the_cloud_is_told_from_a_cut_connection(cloud: Cloud, server: LocalCloud) -> None:
    await cloud.connect()
    server.fail_next(grpc.StatusCode.UNAVAILABLE, 1)
    with pytest.raises(CloudError) as answered:
        await cloud.upload_capture(b"")
    assert (answered.value.code, answered.value.connected) == ("UNAVAILABLE", True)


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_connection_that_is_cut_during_a_call_is_no_connection(server: LocalCloud, kind: str) -> None:
    cable = Cable(int(server.address.rpartition(":")[2]))
    await cable.start()
    cloud = Cloud(settings(cable.address))
    await cloud.connect()
    arrived, never = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await never.wait()

    def messages() -> Iterator[bytes]:
        yield file_metadata(found("/x/a.txt"), "part", ())
        yield file_contents(b"hello")

    server.before_answer = hold
    calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "unary": lambda: cloud.upload_capture(b""),
        "stream": lambda: cloud.upload_stream(FILE_UPLOAD, messages),
    }
    call = asyncio.create_task(calls[kind]())
    await arrived.wait()
    await cable.cut()
    with pytest.raises(CloudError) as cut:
        await call
    assert not cut.value.connected
    never.set()
    await cloud.close()
    await cable.stop()


async def test_closing_the_connection_fails_the_calls_under_way_and_cancels_nobody(
    cloud: Cloud, server: LocalCloud
) -> None:
    await cloud.connect()
    arrived, never = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await never.wait()

    server.before_answer = hold
    call = asyncio.create_task(cloud.upload_capture(b""))
    await arrived.wait()
    await cloud.close()
    with pytest.raises(CloudError):
        await call
    never.set()


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("http://cloud.example:80", "unencrypted"),
        ("ftp://127.0.0.1:1", "not https://"),
        ("https://", "not https://"),
        ("https://127.0.0.1:notaport", "not https://"),
        ("https://[::1", "not https://"),
        ("http://127.0.0.1:1", "can't connect to 127.0.0.1:1"),
    ],
)
async def test_an_address_that_can_not_be_used_says_so(address: str, part: str) -> None:
    with pytest.raises(CloudError, match=part) as caught:
        await Cloud(settings(address)).connect()
    assert not caught.value.connected


async def test_plaintext_goes_to_another_host_only_where_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    async def look_up(host: str, port: int) -> None:
        tried.append(f"{host}:{port}")
        raise ConnectionRefusedError

    monkeypatch.setattr(tcp, "look_up", look_up)
    for allowed in (False, True):
        cloud = Cloud(CloudSettings("http://cloud.example", allowed, "part", "id", SECRET))
        with pytest.raises(CloudError, match="can't connect" if allowed else "unencrypted"):
            await cloud.connect()
    assert tried == ["cloud.example:80"]


async def test_a_host_that_nobody_knows_says_so() -> None:
    with pytest.raises(CloudError, match=r"can't connect to nowhere\.invalid:443"):
        await Cloud(settings("nowhere.invalid")).connect()


async def test_a_cancelled_connect_ends_though_the_way_breaks_at_the_same_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, refuse = asyncio.Event(), asyncio.Event()

    async def look_up(host: str, port: int) -> None:
        began.set()
        await refuse.wait()
        raise ConnectionRefusedError

    monkeypatch.setattr(tcp, "look_up", look_up)
    task = asyncio.create_task(Cloud(settings("http://127.0.0.1:1")).connect())
    await began.wait()
    refuse.set()
    await asyncio.sleep(0)  # the connection was refused, but the task does not know it yet
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_missing_credentials_are_named() -> None:
    missing = CloudSettings("https://x", False, "", "id", "").missing
    assert "VIAM_API_KEY " in missing and "VIAM_MACHINE_PART_ID" in missing and "VIAM_API_KEY_ID" not in missing
    assert CloudSettings("https://x", False, "part", "id", "key").missing == ""


_CONNECT = """
import asyncio, os, sys, module
from holdfast.errors import CloudError, LoginError, StorageError
from holdfast.sync.cloud.replies import FILE_UPLOAD
from holdfast.sync.cloud.cloud import Cloud, CloudSettings
async def main():
    cloud = Cloud(CloudSettings(sys.argv[1], False, "part", "id", "key", os.environ))
    try:
        await cloud.connect()
        await cloud.upload_capture(b"")
        print("connected")
    except CloudError as error:
        print("refused", error)
    await cloud.close()
asyncio.run(main())
"""


AUTHORITY = trustme.CA(organization_name="A test authority")
CERTIFICATES: dict[str, tuple[Callable[[], trustme.LeafCert], str]] = {
    "good": (lambda: AUTHORITY.issue_cert("127.0.0.1"), "connected"),
    "of an unknown authority": (
        lambda: trustme.CA(organization_name="Mitm Inc.").issue_cert("127.0.0.1"),
        r"not trusted \(unable to get local issuer.*issued by .*Mitm Inc\..*1 certificates of .*roots\.pem.*_FILE",
    ),
    "of another host": (
        lambda: AUTHORITY.issue_cert("cloud.example"),
        r"mismatch.*test authority.*cloud_address",
    ),
    "expired": (
        lambda: AUTHORITY.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=timezone.utc)),
        r"has expired.*the clock of this machine says 20\d\d-",
    ),
}


@pytest.mark.parametrize("which", CERTIFICATES)
async def test_tls_is_used_and_the_certificate_is_verified(tmp_path: Path, which: str) -> None:
    """Connects in a process of its own, since gRPC's own log goes past Python's."""
    issue, expected = CERTIFICATES[which]
    certificate = issue()
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    server = LocalCloud(
        tmp_path / "cloud", tls=(chain, certificate.private_key_pem.bytes()), api_keys={"id": "key"}
    )
    await server.start()
    (tmp_path / "none").mkdir()
    roots = tmp_path / "roots.pem"
    AUTHORITY.cert_pem.write_to_path(str(roots))
    environment = {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "SSL_CERT_FILE": str(roots),
        "SSL_CERT_DIR": str(tmp_path / "none"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _CONNECT,
        server.address,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, log = await process.communicate()
    assert output.decode().startswith("connected" if which == "good" else "refused UNAVAILABLE")
    assert re.search(expected, output.decode())
    assert log == b"", "gRPC's own log would be a line at each attempt"
    assert server.calls["DataCaptureUpload"] == int(which == "good")
    await server.stop()


async def test_a_token_is_renewed_before_it_expires_once_for_all_calls(
    cloud: Cloud, server: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cloud.connect()
    asked: list[Token] = []

    def is_old(token: Token) -> bool:
        asked.append(token)
        return token is asked[0]

    monkeypatch.setattr(Token, "is_old", property(is_old))
    await asyncio.gather(*(cloud.upload_capture(b"") for _ in range(5)))
    assert (server.calls["Authenticate"], server.calls["DataCaptureUpload"]) == (2, 5)


async def test_a_token_that_can_not_be_renewed_yet_is_used_until_the_cloud_refuses_it(
    cloud: Cloud, server: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cloud.connect()
    cloud._token._renew_s = 0.0
    server.fail_while = lambda method, request: (
        grpc.StatusCode.UNAVAILABLE if method.endswith("Authenticate") else None
    )
    for _ in range(3):
        await cloud.upload_capture(b"")
    assert server.calls["DataCaptureUpload"] == 3
    assert server.calls["Authenticate"] == 2, "it is tried again later"
    server.revoke_tokens()
    with pytest.raises(LoginError):
        await cloud.upload_capture(b"")
