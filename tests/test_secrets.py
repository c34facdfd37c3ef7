"""The whole with a known key, token and password: whatever happens, none of them stands anywhere."""

from __future__ import annotations

import json
import logging
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from viam.proto.rpc.auth import AuthenticateResponse

from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.commands import run_command
from holdfast.config import Host, parse
from holdfast.errors import HoldfastError
from holdfast.manager import Manager, Resources
from holdfast.status import status

from .fakes import FakeClient
from .sync.raw_cloud import Behaviour, Call, RawCloud, accept
from .waiting import eventually

KEY, TOKEN, PASSWORD = "the-key-of-the-machine", "the-token-of-the-cloud", "the-password-of-mongo"


def echoing(code: int) -> Behaviour:
    """A cloud that repeats in its error what it was sent."""

    async def answer(call: Call) -> None:
        await call.ended.wait()
        call.answer(code=code, why=f"key-{KEY}" if call.method == "Authenticate" else f"key-{KEY}-token-{TOKEN}")

    return answer


async def give_token(call: Call) -> None:
    await call.ended.wait()
    call.answer(AuthenticateResponse(access_token=TOKEN).SerializeToString())


async def cut(call: Call) -> None:
    call.wire.cut()


class Heard:
    """Everything that a user can see."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self.texts: list[str] = []

    async def sync(self) -> None:
        try:
            self.texts.append(repr(await self._manager.sync()))
        except HoldfastError as error:
            self.texts.append("".join(traceback.format_exception(error)))
        self.look()

    def look(self) -> None:
        self.texts.append(json.dumps(status(self._manager)))
        assert self._manager.engine is not None
        self.texts.append(repr(vars(self._manager.engine.uplink)) + repr(self._manager.config))

    async def ask(self, command: dict[str, Any]) -> None:
        self.texts.append(json.dumps(await run_command(self._manager, command)))


async def test_key_token_and_password_stand_in_no_log_status_error_or_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    caplog.set_level(logging.INFO, "hpack")  # of the cloud, which is in this process
    environment = {
        "HOME": str(tmp_path),
        "VIAM_API_KEY_ID": "id",
        "VIAM_API_KEY": KEY,
        "VIAM_MACHINE_PART_ID": "part",
    }
    manager = Manager(environment, FileSystem(), SystemClock())
    client = FakeClient()
    heard = Heard(manager)

    def called_since(done: int) -> bool:
        return len(client.calls) > done

    async with RawCloud() as cloud:
        attributes = {
            "capture_dir": str(tmp_path / "capture"),
            "cloud_address": cloud.address,
            "sync_disabled": True,
            "capture_methods": [{"name": "a", "method": "Readings", "capture_frequency_hz": 100}],
            "mongo_capture_config": {"uri": f"mongodb://user:{PASSWORD}@127.0.0.1:1/?serverSelectionTimeoutMS=100"},
        }
        resources = Resources({"a": frozenset({"rdk:component:sensor"})}, client)
        cloud.log_in = echoing(16)
        manager.apply(parse(attributes, Host.of(environment)), resources)
        engine = manager.engine
        assert engine is not None
        await eventually(lambda: engine.store.owned and client.calls)
        await heard.sync()
        assert "login refused" in caplog.text
        cloud.log_in = give_token
        for behave in (echoing(13), echoing(3), echoing(16), echoing(7), echoing(14), cut):
            cloud.behave = behave
            done = len(client.calls)
            await eventually(partial(called_since, done))
            await heard.sync()
        cloud.behave = accept
        await eventually(lambda: engine.uplink.link.up)
        await heard.sync()
        await eventually(lambda: engine.mongo.report().last_error)
        await heard.ask({"command": "status"})
        await heard.ask({"command": "failed", "action": "list"})
        await heard.ask({"command": "help"})
        assert cloud.taken, "it works all the same"
        await manager.stop()
    files = [path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    seen = {"log": caplog.text, "shown": "\n".join(heard.texts), "on the disk": "\n".join(files)}
    assert "key-…-token-…" in seen["log"] and "key-…-token-…" in seen["shown"]
    found = [(where, secret) for where, text in seen.items() for secret in (KEY, TOKEN, PASSWORD) if secret in text]
    assert found == []
