"""Each row of the table of verdicts, against a server that really answers so."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from viam.proto.rpc.auth import AuthenticateResponse

from holdfast.errors import NotConnectedError
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.sync.cloud import cloud as clouds
from holdfast.sync.cloud import patience
from holdfast.sync.cloud.link import LinkState
from holdfast.sync.manual import SyncReport
from tests.logs import limited
from tests.waiting import eventually

from ..conftest import World, make_world, metadata, reading, write_capture_file, write_old_file
from ..raw_cloud import Behaviour, Call, RawCloud, accept, let_in

ALL = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}
GRPC_CODES = {
    1: "CANCELLED",
    2: "UNKNOWN",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    17: "UNKNOWN",
}
WEB_SERVER = {
    200: "UNKNOWN",
    302: "UNKNOWN",
    400: "INTERNAL",
    404: "UNIMPLEMENTED",
    429: "UNAVAILABLE",
    500: "UNKNOWN",
    503: "UNAVAILABLE",
}
RESETS = {
    ErrorCodes.NO_ERROR: "INTERNAL",
    ErrorCodes.INTERNAL_ERROR: "INTERNAL",
    ErrorCodes.REFUSED_STREAM: "UNAVAILABLE",
    ErrorCodes.CANCEL: "CANCELLED",
    ErrorCodes.ENHANCE_YOUR_CALM: "RESOURCE_EXHAUSTED",
}
Fault = Callable[[Call], object]


def with_code(code: int) -> Fault:
    return lambda call: call.answer(code=code)


def with_status(status: int) -> Fault:
    return lambda call: call.answer_http(status)


def with_reset(code: ErrorCodes) -> Fault:
    return lambda call: call.reset(code)


def with_metadata(call: Call) -> None:
    """OK, behind more metadata than anybody reads."""
    h2 = call.wire.h2
    flood = [(f"x-{number}", "x" * 500) for number in range(1000)]
    h2.send_headers(
        call.stream, [(":status", "200"), ("content-type", "application/grpc"), *flood], end_stream=True
    )
    call.wire.flush()


NO_ANSWER: dict[str, tuple[Fault, str]] = {
    "OK without a message": (lambda call: call.answer(None), "UNKNOWN"),
    "OK with another message": (lambda call: call.answer(b"\x0a\x02\xff\xff"), "UNKNOWN"),
    "a flood of metadata": (with_metadata, "UNKNOWN"),
}
"""By name: an OK, or what could be one, in which no cloud says that it has the upload."""
AGAIN: dict[str, tuple[Fault, str]] = {
    **NO_ANSWER,
    **{f"code {code} {name}": (with_code(code), name) for code, name in GRPC_CODES.items()},
    **{f"HTTP {status}": (with_status(status), name) for status, name in WEB_SERVER.items()},
    **{f"RST_STREAM {code.name}": (with_reset(code), name) for code, name in RESETS.items()},
}
"""By name: a fault in the middle of a call, and gRPC's code for it. The unit is tried again; others continue."""


def once(fault: Fault) -> Behaviour:
    """Causes the fault in the middle of the first call; the cloud accepts the others."""
    faults = [fault]

    async def behave(call: Call) -> None:
        if faults:
            one = faults.pop()
            await call.begun.wait()
            one(call)
        else:
            await accept(call)

    return behave


async def sync(world: World) -> SyncReport:
    world.rounds.configure(world.settings(disabled=True))
    return await world.rounds.sync_now()


def counts(world: World) -> ReadingCounts:
    total = ReadingCounts()
    for each in world.ledger.readings().values():
        total.add(each)
    return total


def two_capture_files(world: World) -> None:
    world.capture_file("9999-a", [1, 2, 3], "lidar")
    world.capture_file("9999-b", [4, 5, 6], "radar")


def two_arbitrary_files(world: World) -> None:
    for name in ("a", "b"):
        write_old_file(world.folder / f"{name}.bin", name.encode() * 100_000)


def the_sum_holds(world: World, cloud: RawCloud) -> None:
    """Asserts that the receiver has each reading and file once, that all count as delivered, and none is left."""
    found = counts(world)
    assert found.adopted + found.captured == found.delivered == len(cloud.readings)
    assert (found.quarantined, found.on_disk, found.dropped, found.vanished) == (0, 0, {}, 0)
    files = [call for call in cloud.taken if call.method == "FileUpload"]
    assert world.ledger.files.delivered == len(files) and world.ledger.files.quarantined == 0
    assert not list(world.folder.glob("failed/**/*"))


@pytest.mark.parametrize("kind", [two_capture_files, two_arbitrary_files], ids=["calls", "streams"])
@pytest.mark.parametrize("row", AGAIN)
async def test_a_unit_that_fails_in_the_middle_goes_again_and_the_others_go_on(
    tmp_path: Path, row: str, kind: Callable[[World], None]
) -> None:
    fault, code = AGAIN[row]
    async with RawCloud(once(fault)) as cloud, make_world(tmp_path, address=cloud.address) as world:
        kind(world)
        report = await sync(world)
        assert (report.files, report.failed.count, report.quarantined) == (1, 1, 0)
        assert f": {code}: " in report.last_error
        assert world.link.up and world.delivery.retrying == 1
        assert (await sync(world)).files == 1
        assert set(cloud.readings) in (ALL, set())
        the_sum_holds(world, cloud)


@pytest.mark.parametrize("kind", [two_capture_files, two_arbitrary_files], ids=["calls", "streams"])
@pytest.mark.parametrize(
    "fault", [lambda call: call.wire.cut(), lambda call: call.wire.go_away()], ids=["reset", "GOAWAY"]
)
async def test_after_a_connection_that_breaks_in_the_middle_everything_arrives_once(
    tmp_path: Path, fault: Fault, kind: Callable[[World], None]
) -> None:
    async with RawCloud(once(fault)) as cloud, make_world(tmp_path, address=cloud.address) as world:
        kind(world)
        world.rounds.configure(world.settings())
        await eventually(lambda: len(cloud.taken) == 2 and not world.rounds.in_flight)
        assert set(cloud.readings) in (ALL, set())
        the_sum_holds(world, cloud)


@pytest.mark.parametrize("kind", [two_capture_files, two_arbitrary_files], ids=["calls", "streams"])
@pytest.mark.parametrize(
    "fault", [with_code(7), with_status(403), with_reset(ErrorCodes.INADEQUATE_SECURITY)], ids=["7", "403", "reset"]
)
async def test_who_is_not_let_in_waits_as_for_the_link_and_logs_in_anew(
    tmp_path: Path, fault: Fault, kind: Callable[[World], None]
) -> None:
    async with RawCloud(once(fault)) as cloud, make_world(tmp_path, address=cloud.address) as world:
        kind(world)
        report = await sync(world)
        assert (report.failed.count >= 1, report.quarantined) == (True, 0)
        assert world.link.state is LinkState.LOGIN_REFUSED and "PERMISSION_DENIED" in world.link.why
        assert world.delivery.retrying == 0, "nothing is held against the unit"
        world.rounds.configure(world.settings())
        await eventually(lambda: len(cloud.taken) == 2 and not world.rounds.in_flight)
        assert cloud.logins == 2
        the_sum_holds(world, cloud)


@pytest.mark.parametrize("fault", [with_code(16), with_status(401)], ids=["UNAUTHENTICATED", "HTTP 401"])
@pytest.mark.parametrize("kind", [two_capture_files, two_arbitrary_files], ids=["calls", "streams"])
async def test_an_expired_token_costs_a_login_and_nothing_else(
    tmp_path: Path, fault: Fault, kind: Callable[[World], None]
) -> None:
    async with RawCloud(once(fault)) as cloud, make_world(tmp_path, address=cloud.address) as world:
        kind(world)
        report = await sync(world)
        assert (report.files, report.failed.count, world.delivery.last_error) == (2, 0, None)
        assert cloud.logins == 2
        the_sum_holds(world, cloud)


async def test_a_cloud_that_takes_no_token_is_told_loudly_once_and_costs_nothing_but_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Accepts each login and refuses each upload."""
    caplog.set_level(logging.INFO)

    async def refuse(call: Call) -> None:
        await call.ended.wait()
        call.answer(code=16)

    async with RawCloud(refuse) as cloud, make_world(tmp_path, address=cloud.address) as world:
        two_capture_files(world)
        world.rounds.configure(world.settings())
        await eventually(lambda: cloud.logins >= 4)
        cloud.behave = accept
        await eventually(lambda: len(cloud.taken) == 2 and not world.rounds.in_flight)
        the_sum_holds(world, cloud)
    said = limited(caplog)
    assert len([r for r in said if r.getMessage().startswith("connected to the cloud")]) == 1
    assert [r.levelname for r in said if "login refused" in r.getMessage()] == ["ERROR"]


def at_login(fault: Fault) -> Behaviour:
    async def log_in(call: Call) -> None:
        await call.ended.wait()
        fault(call)

    return log_in


NO_CLOUD: dict[str, tuple[Fault, str]] = {
    **{f"HTTP {status}": (with_status(status), name) for status, name in WEB_SERVER.items()},
    "code 3": (with_code(3), "INVALID_ARGUMENT"),
    "code 12": (with_code(12), "UNIMPLEMENTED"),
    "HTTP 401": (with_status(401), "UNAUTHENTICATED"),
    "HTTP 403": (with_status(403), "PERMISSION_DENIED"),
    "nonsense": (lambda call: call.answer(b"\xff" * 50), "can't be understood"),
    "silence": (lambda call: None, "DEADLINE_EXCEEDED"),
}
"""By name: how a server that is not the cloud, such as a captive portal, answers a login, and the error."""


TOKENS = {
    "empty": "it is empty",
    "a\nb": "no header",
    "grün": "no header",
    "x" * 1_000_000: "it has 1000000 characters",
}


@pytest.mark.parametrize("token", TOKENS, ids=["empty", "line break", "umlaut", "a million characters"])
async def test_a_token_that_can_not_be_used_is_a_login_that_failed_and_says_why(
    tmp_path: Path, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def log_in(call: Call) -> None:
        await call.ended.wait()
        await call.send(AuthenticateResponse(access_token="" if token == "empty" else token).SerializeToString())

    async with RawCloud() as cloud:
        cloud.log_in = log_in
        async with make_world(tmp_path, address=cloud.address) as world:
            two_capture_files(world)
            with pytest.raises(NotConnectedError, match=TOKENS[token]):
                await world.rounds.sync_now()
            assert world.link.state is LinkState.LOGIN_REFUSED and TOKENS[token] in world.link.why
            assert TOKENS[token] in caplog.text and len(world.link.why) < 500
            await eventually(lambda: cloud.logins >= 2)
            assert cloud.calls == []
            cloud.log_in = let_in
            world.rounds.configure(world.settings())
            await eventually(lambda: len(cloud.taken) == 2 and not world.rounds.in_flight)
            the_sum_holds(world, cloud)


@pytest.mark.parametrize("exp", ["1" + "0" * 400, "[" * 3000, "1e999", "-1", '"x"'])
async def test_a_token_of_an_absurd_life_is_used(tmp_path: Path, exp: str) -> None:
    payload = base64.urlsafe_b64encode(('{"exp": ' + exp + "}").encode()).decode().rstrip("=")
    token = f"e30.{payload}.x"

    async def log_in(call: Call) -> None:
        await call.ended.wait()
        call.answer(AuthenticateResponse(access_token=token).SerializeToString())

    async with RawCloud() as cloud:
        cloud.log_in = log_in
        async with make_world(tmp_path, address=cloud.address) as world:
            two_capture_files(world)
            assert (await sync(world)).files == 2 and cloud.logins == 1


@pytest.mark.parametrize("row", NO_CLOUD)
async def test_what_does_not_let_in_is_waited_for_and_nothing_is_given_up(
    tmp_path: Path, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, code = NO_CLOUD[row]
    if row == "silence":
        monkeypatch.setattr(clouds, "_CONNECT_TIMEOUT_S", 0.3)
    async with RawCloud() as cloud:
        cloud.log_in = at_login(answer)
        async with make_world(tmp_path, address=cloud.address) as world:
            two_capture_files(world)
            two_arbitrary_files(world)
            with pytest.raises(NotConnectedError, match=code):
                await world.rounds.sync_now()
            assert not world.link.usable and code in world.link.why
            assert world.link.state is (
                LinkState.LOGIN_REFUSED if "40" in row and row[-1] in "13" else LinkState.DOWN
            )
            assert cloud.calls == [] and len(list(world.folder.glob("*/*.capture"))) == 2
            cloud.log_in = let_in
            await world.link.ensure_usable()
            world.rounds.configure(world.settings())
            await eventually(lambda: len(cloud.taken) == 4 and not world.rounds.in_flight)
            the_sum_holds(world, cloud)


async def old_web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers in HTTP/1.1, as most captive portals do."""
    await reader.read(100)
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\nnobody")
    writer.close()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts the connection and never answers."""
    await reader.read()
    writer.close()


@pytest.mark.parametrize("serve", [old_web_server, silence])
async def test_what_speaks_no_grpc_is_no_connection(
    tmp_path: Path, serve: Callable[..., Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clouds, "_CONNECT_TIMEOUT_S", 0.5)
    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with make_world(tmp_path, address=address) as world:
            two_capture_files(world)
            with pytest.raises(NotConnectedError, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
                await world.rounds.sync_now()
            assert world.link.state is LinkState.DOWN
            assert len(list(world.folder.glob("*/*.capture"))) == 2


async def test_a_host_that_nobody_knows_is_no_connection(tmp_path: Path) -> None:
    async with make_world(tmp_path, address="https://nowhere.invalid") as world:
        two_capture_files(world)
        with pytest.raises(NotConnectedError, match=r"can't connect to nowhere\.invalid:443"):
            await world.rounds.sync_now()
        assert world.link.state is LinkState.DOWN
        assert len(list(world.folder.glob("*/*.capture"))) == 2


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOOK_S", 0.05)
    monkeypatch.setattr(patience, "_SLOWEST_BYTES_PER_S", 1e9)


@pytest.mark.usefixtures("short_patience")
@pytest.mark.parametrize("kind", [two_capture_files, two_arbitrary_files], ids=["calls", "streams"])
async def test_a_call_that_is_never_answered_is_given_up_and_the_others_go_on(
    tmp_path: Path, kind: Callable[[World], None]
) -> None:
    async with RawCloud(once(lambda call: None)) as cloud, make_world(tmp_path, address=cloud.address) as world:
        kind(world)
        report = await sync(world)
        assert (report.files, report.failed.count, report.quarantined) == (1, 1, 0)
        assert "DEADLINE_EXCEEDED" in report.last_error and world.link.up
        assert (await sync(world)).files == 1
        the_sum_holds(world, cloud)


@pytest.mark.usefixtures("short_patience")
@pytest.mark.parametrize("kind", ["call", "stream"])
async def test_a_slow_reader_is_waited_for_as_long_as_it_reads(tmp_path: Path, kind: str) -> None:
    """The call takes many times longer than a call that does not move may take."""
    async with (
        RawCloud(read_bytes=400, read_every_s=0.02) as cloud,
        make_world(tmp_path, address=cloud.address) as world,
    ):
        if kind == "call":
            write_capture_file(world.folder / "lidar", "9999-a", [ballast(n) for n in (1, 2, 3)], metadata())
        else:
            write_old_file(world.folder / "a.bin", bytes(60_000))
        report = await sync(world)
        assert (report.files, report.failed.count) == (1, 0)
        the_sum_holds(world, cloud)


def ballast(number: float) -> bytes:
    """Returns a reading with 20,000 bytes in a field that the cloud skips."""
    return reading(number) + b"\x9a\x3e\xa0\x9c\x01" + b"x" * 20_000
