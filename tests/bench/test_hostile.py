"""The bench with hostile neighbours: the same seed sends the same, and the report tells what it means."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

import grpc.aio
import pytest
from viam.proto.app.datasync import DataCaptureUploadRequest
from viam.proto.rpc.auth import AuthenticateRequest

from bench.hostile.answers import Answers
from bench.hostile.callers import drawn
from bench.hostile.cloud import HostileCloud
from bench.hostile.give_way import STANDS_BACK
from bench.hostile.journal import Input, Journal, read
from bench.hostile.rig import HZ, SENSORS, Found, Rig, hostile_rpcs
from bench.hostile.summary import described, rows, under_way
from bench.hostile.watch import Busy, Hold

UPLOAD = "/viam.app.datasync.v1.DataSyncService/DataCaptureUpload"
LOGIN = "/proto.rpc.v1.AuthService/Authenticate"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal", "side")


@pytest.mark.parametrize("rpc", hostile_rpcs())
def test_the_answers_to_each_method_depend_on_the_seed_alone(rpc: str, journal: Journal) -> None:
    def answers(seed: str, others: int) -> list[str]:
        source = Answers(seed, journal, largest_bytes=2_000)
        for _ in range(others):
            source.next("/another/Method")
        return [str(source.next(rpc)) for _ in range(20)]

    assert answers("1", 0) == answers("1", 7) != answers("2", 0)
    assert len(set(answers("1", 0))) > 1


def test_the_requests_of_a_caller_depend_on_the_seed_alone() -> None:
    def requests(seed: str) -> list[tuple[str, bytes]]:
        return list(itertools.islice(drawn(random.Random(seed), "data"), 8))

    assert requests("1") == requests("1") != requests("2")
    assert {"DoCommand", "Sync", "UploadBinaryDataToDatasets", "GetStatus"} >= {
        method for method, _ in requests("1")
    }


async def test_a_cloud_that_is_not_hostile_takes_all_and_a_hostile_one_does_not(journal: Journal) -> None:
    async def codes(*, hostile: bool) -> set[str]:
        found = set()
        async with HostileCloud("1", journal, hostile=hostile).raw as cloud:
            channel = grpc.aio.insecure_channel(cloud.address.removeprefix("http://"))
            upload: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(UPLOAD)
            log_in: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(LOGIN)
            for call, request in ((upload, DataCaptureUploadRequest()), (log_in, AuthenticateRequest())) * 15:
                try:
                    await call(request.SerializeToString(), timeout=2)
                    found.add("OK")
                except grpc.aio.AioRpcError as error:
                    found.add(error.code().name)
            await channel.close()
        return found

    assert await codes(hostile=False) == {"OK"}
    assert len(await codes(hostile=True)) > 2


async def test_the_inputs_under_way_at_a_hold_are_those_of_its_time(journal: Journal, tmp_path: Path) -> None:
    with journal.during("one"):
        await asyncio.sleep(0.001)
    journal.note("two", 3.0)
    with (tmp_path / "journal").open("a") as file:
        file.write('["side", "cut of')
    one, two = read(tmp_path / "journal")
    assert (one.side, one.what, two.what) == ("side", "one", "two")
    assert one.begin_ns < one.end_ns <= two.begin_ns and two.end_ns - two.begin_ns == 3_000_000_000
    hold = Hold(10**9, 10**9 + 10**8, 0.0, 0.0, 0.0, 0.0, (), ())
    times = {"before": (0, 10**8), "just before": (0, 10**9 - 10**7), "in it": (10**9 + 5, 10**10)}
    inputs = [Input("side", what, *span) for what, span in {**times, "after": (2 * 10**9, 3 * 10**9)}.items()]
    assert [each.what for each in under_way(hold, inputs)] == ["in it", "just before"]


def test_the_report_tells_the_longest_hold_what_held_it_and_what_was_captured() -> None:
    long = Hold(
        5 * 10**9, 5 * 10**9 + 80_000_000, 1.0, 60.0, 2.0, 0.0, [(3, ["a.py:7 f"])], [Busy("disk", 9.0, 2.0)]
    )
    short = Hold(0, 30_000_000, 0.0, 1.0, 0.0, 0.0, [], [])
    found = Found(
        begin_ns=0,
        end_ns=10 * 10**9,
        holds=[short, long],
        inputs=[Input("caller", "a million parameters", 5 * 10**9, 6 * 10**9)],
        captured=int(SENSORS * HZ * 9),
        served=int(SENSORS * HZ * 9),
        samples=[(0.0, 50 << 20, 40, 20), (1.0, 90 << 20, 41, 20), (2.0, 60 << 20, 40, 20)],
    )
    told = described(found)
    assert told.index("80 ms at 5.0 s") < told.index("30 ms at 0.0 s")
    for part in ("3 × a.py:7 f", "disk: CPU 9 ms", "caller: a million parameters"):
        assert part in told
    figures = {row.name: row for row in rows(found)}
    assert (
        figures["longest hold of the event loop"].value == 80 and not figures["longest hold of the event loop"].met
    )
    assert figures["20 × 100 Hz: captured ÷ due"].value == pytest.approx(90)
    assert figures["memory at most"].value == 90 and figures["memory at the end"].value == 60
    assert figures["holds of more than 50 ms"].value == 1


async def test_the_rig_measures_a_real_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STANDS_BACK, "0")
    found = await Rig(tmp_path, "1", hostile=("component",)).run(1.0)
    assert found.captured > 0 and found.served > 0 and found.restarts == 0
    assert found.samples[0][1] > 10 << 20
    assert {each.side for each in found.inputs} >= {"component"}
    assert (tmp_path / "holds.jsonl").exists()
