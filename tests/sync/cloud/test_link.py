from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from holdfast.base.clock import SystemClock
from holdfast.errors import CloudError, NotConnectedError
from holdfast.sync.cloud import link as links
from holdfast.sync.cloud.cloud import Cloud, CloudSettings
from holdfast.sync.cloud.link import Link, LinkState
from holdfast.sync.cloud.verdicts import Verdict
from tests.acceptance import accept_something
from tests.waiting import eventually

from ..conftest import World, make_world
from ..raw_cloud import RawCloud

UNAVAILABLE = CloudError("UNAVAILABLE", "try later", connected=True)
NO_CONNECTION = CloudError("UNAVAILABLE", "reset", connected=False)


async def test_it_comes_up(world: World) -> None:
    await world.link.ensure_usable()
    assert world.link.up
    await world.link.admit_call(wait=False)


async def test_the_first_attempt_is_no_problem_before_it_has_failed(world: World) -> None:
    assert world.link.state is LinkState.CONNECTING and list(world.link.problems("")) == []
    await world.link.ensure_usable()
    world.link.judge_failure("a", NO_CONNECTION)
    assert [problem.what for problem in world.link.problems("")] == [
        "not connected to the cloud: UNAVAILABLE: reset; nothing is sent until this is over"
    ]


async def test_one_failing_unit_is_its_own_fault_and_a_second_one_is_the_clouds(world: World) -> None:
    await world.link.ensure_usable()
    assert world.link.judge_failure("a", UNAVAILABLE) is Verdict.RETRY
    assert world.link.judge_failure("a", UNAVAILABLE) is Verdict.RETRY
    assert world.link.up
    assert world.link.judge_failure("b", UNAVAILABLE) is Verdict.LINK
    assert world.link.state is LinkState.UNWELL


async def test_a_success_between_two_failures_acquits_the_cloud(world: World) -> None:
    await world.link.ensure_usable()
    world.link.judge_failure("a", UNAVAILABLE)
    world.link.note_success(0)
    assert world.link.judge_failure("b", UNAVAILABLE) is Verdict.RETRY
    assert world.link.up


async def test_while_the_cloud_is_unwell_one_call_at_a_time_may_try(world: World) -> None:
    await world.link.ensure_usable()
    world.link.judge_failure("a", UNAVAILABLE)
    world.link.judge_failure("b", UNAVAILABLE)
    waiting = [asyncio.create_task(world.link.admit_call(wait=True)) for _ in range(3)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    world.link.note_success(0)
    await asyncio.gather(*waiting)
    assert world.link.up


async def test_a_cut_is_noticed_and_the_link_returns_by_itself(world: World) -> None:
    await world.link.ensure_usable()
    await world.cable.cut()
    assert world.link.judge_failure("a", NO_CONNECTION) is Verdict.LINK
    assert not world.link.usable
    with pytest.raises(NotConnectedError):
        await world.link.admit_call(wait=False)
    await eventually(lambda: "can't connect" in world.link.why)
    assert world.link.state is LinkState.DOWN
    await world.cable.restore()
    await eventually(lambda: world.link.up)


async def test_calls_of_the_old_connection_do_not_bring_down_the_new_one(world: World) -> None:
    await world.link.ensure_usable()
    world.link.judge_failure("a", NO_CONNECTION)
    world.link.judge_failure("b", NO_CONNECTION)
    await eventually(lambda: world.link.up)
    logins = world.cloud.calls["Authenticate"]
    await world.connection.upload_capture(b"")
    assert world.link.up and world.cloud.calls["Authenticate"] == logins == 2


async def test_a_refused_login_waits_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with make_world(tmp_path, key="wrong") as world:
        await eventually(lambda: world.link.state is LinkState.LOGIN_REFUSED)
        with pytest.raises(NotConnectedError, match=r"UNAUTHENTICATED|PERMISSION_DENIED"):
            await world.link.ensure_usable()
        assert "login refused" in caplog.text and "wrong" not in caplog.text


async def test_a_call_that_is_not_let_in_takes_the_link_down_loudly(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.link.ensure_usable()
    error = CloudError("PERMISSION_DENIED", "no", connected=True)
    assert world.link.judge_failure("a", error) is Verdict.LINK
    assert world.link.state is LinkState.LOGIN_REFUSED
    assert [record.levelname for record in caplog.records if "login refused" in record.message] == ["ERROR"]


async def test_without_credentials_nothing_is_tried_and_the_log_says_what_is_missing_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = CloudSettings("https://127.0.0.1:1", False, "part")
    link = Link(Cloud(settings), settings, SystemClock())
    task = asyncio.create_task(link.run())
    await eventually(lambda: link.state is LinkState.NO_CREDENTIALS)
    with pytest.raises(NotConnectedError, match="VIAM_API_KEY"):
        await link.ensure_usable()
    assert caplog.text.count("VIAM_API_KEY_ID") == 1
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_cloud_that_answers_with_errors_stays_connected(world: World) -> None:
    await world.link.ensure_usable()
    world.cloud.fail_next(grpc.StatusCode.INTERNAL, 1)
    with pytest.raises(CloudError) as caught:
        await world.connection.upload_capture(b"")
    assert world.link.judge_failure("a", caught.value) is Verdict.RETRY
    assert world.link.up


async def test_a_cut_is_noticed_while_nobody_uses_the_link(world: World) -> None:
    await world.link.ensure_usable()
    calls = world.cloud.calls.total()
    await world.cable.cut()
    await eventually(lambda: world.link.state is LinkState.DOWN)
    assert world.cloud.calls.total() == calls
    await world.cable.restore()
    await eventually(lambda: world.link.up)


async def test_a_way_that_is_gone_without_a_sign_is_noticed_while_nobody_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_IDLE_LOOK_S", 0.1)
    async with RawCloud() as cloud, make_world(tmp_path, address=cloud.address) as world:
        await world.link.ensure_usable()
        cloud.stop_listening()
        await eventually(lambda: world.link.state is LinkState.DOWN)
        assert "can't connect" in world.link.why and cloud.calls == []


async def test_a_connection_that_the_cloud_ends_is_no_cut_while_the_way_is_there(tmp_path: Path) -> None:
    async with RawCloud() as cloud, make_world(tmp_path, address=cloud.address) as world:
        await world.link.ensure_usable()
        probes = world.connection.probe
        tried = asyncio.Event()

        async def probe() -> None:
            await probes()
            tried.set()

        world.connection.probe = probe  # type: ignore[method-assign]
        cloud.wires[-1].go_away()
        await asyncio.wait_for(tried.wait(), 20)
        assert world.link.up and cloud.logins == 1
        world.capture_file("9999-a", [1])
        assert (await world.rounds.sync_now()).files == 1


async def test_what_another_connection_accepted_makes_no_refusal_believed(world: World) -> None:
    await world.link.ensure_usable()
    error = CloudError("INVALID_ARGUMENT", "no", connected=True)
    assert not world.link.judge_refusal(("/a", 1), "c", error)
    await accept_something(world.link)
    assert world.link.judge_refusal(("/a", 1), "c", error)
    world.link.judge_failure("a", NO_CONNECTION)
    await eventually(lambda: world.link.up)
    assert not world.link.judge_refusal(("/a", 1), "c", error)
