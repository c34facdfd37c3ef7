"""What a client may ask of the data manager through the real viam-server, and what it is told when it can't."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError
from viam.proto.app.datasync import MimeType

from .machines import Servers, a_machine, readings_of, sensor


def shape(value: Any) -> Any:
    """The structure of a status without its figures."""
    if isinstance(value, Mapping):
        return {name: shape(each) for name, each in sorted(value.items())}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value).__name__


async def test_commands_answer_alike_on_both_ways_and_mistakes_are_explained(
    viam_server: Servers, tmp_path: Path
) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        await machine.start(
            components=[sensor("fake-1"), sensor("fake-2")],
            capture_methods=[readings_of("fake-1", 20), readings_of("fake-2", 20), readings_of("absent", 1)],
        )
        await machine.until_status(
            lambda status: (
                status["readings"]["delivered"]
                and all(each["captured"] for each in status["capture"]["collectors"])
                and status["sync"]["last_round_age_s"] is not None
            ),
            "every figure of the status is known",
        )
        status = await machine.status()
        assert shape(status) == shape(await machine.command(command="status"))
        assert {"version", "process", "config_problems", "capture", "sync", "readings", "files"} <= set(status)
        assert sorted(each["resource"] for each in status["capture"]["collectors"]) == ["fake-1", "fake-2"]

        commands = (await machine.command(command="help"))["commands"]
        assert {"status", "sync", "pause", "set_frequency"} <= set(commands)
        assert all(each["does"] and all(each["arguments"].values()) for each in commands.values())

        for command, told in (
            ({"command": "synk"}, "did you mean 'sync'"),
            ({"command": "stauts"}, "did you mean 'status'"),
            ({"command": "make coffee"}, "help"),
            ({"sync": True}, "help"),
            ({"command": 7}, "help"),
        ):
            with pytest.raises(GRPCError) as refused:
                await machine.command(**command)
            assert refused.value.status is Code.INVALID_ARGUMENT
            assert told in str(refused.value.message) and ".py" not in str(refused.value.message)

        service = await machine.service()
        with pytest.raises(GRPCError) as refused:
            await service.upload_binary_data_to_datasets(
                b"data", ["tag"], ["set-1"], MimeType.MIME_TYPE_IMAGE_PNG, timeout=10
            )
        assert refused.value.status is Code.UNIMPLEMENTED
        assert "dataset=<id>" in str(refused.value.message)
