"""The whole configs that the documents show, on the real viam-server as they stand there."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .machines import RUN, SERVICE, Servers, a_machine, until
from .test_convert import collectors_that_read
from .viam_server import ViamServer

ROOT = RUN.parent.parent
STATUS = '{"command": "status"}'


@pytest.mark.parametrize("document", ["README.md", "docs/getting-started.md"])
async def test_the_machine_that_a_document_shows_captures_what_it_says(
    document: str, viam_server: Callable[..., ViamServer]
) -> None:
    text = (ROOT / document).read_text()
    examples = [json.loads(found) for found in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    machine: dict[str, Any] = next(example for example in examples if "modules" in example)
    (module,) = machine["modules"]
    assert Path(module["executable_path"]).parts[-2:] == RUN.parts[-2:]
    module["executable_path"] = str(RUN)
    server = viam_server()
    await server.start(machine)

    thermometer = ("rdk:component:sensor", "thermometer", "Readings")

    async def reads() -> bool:
        return thermometer in await collectors_that_read(server, "data_manager")

    await until(reads, "the sensor is captured")
    folder = server.viam_home / "capture"
    await until(lambda: list(folder.glob("*/thermometer/Readings/*")), "what was read lies on the disk")


async def test_the_program_of_docs_commands_sends_a_command_on_the_machine_itself(
    viam_server: Servers, tmp_path: Path
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "commands.md").read_text(), re.DOTALL)
    assert not re.search(r"\._", program), "it uses no private member of the SDK"
    file = tmp_path / "command.py"
    file.write_text(program)

    async def run(command: str, temporary: Path, name: str = SERVICE) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(file), name, command]
        environment = {"TMPDIR": str(temporary)}
        return await asyncio.to_thread(
            subprocess.run, words, env=environment, capture_output=True, text=True, timeout=60
        )

    async with a_machine(viam_server, tmp_path, connected=True) as machine:
        await machine.start()
        machine.server.sigkill()
        await machine.start_again()
        temporary = machine.server.parent_socket.parent.parent
        assert len(list(temporary.glob("viam-module-*/parent.sock"))) == 2, "one is left behind by the kill"
        found = await run(STATUS, temporary)
        assert found.returncode == 0, found.stderr
        answer = json.loads(found.stdout)
        assert answer["running"] is True and list(answer) == sorted(answer)
        for command, name, words in (
            ('{"command": "status"', SERVICE, "the command is not usable JSON: "),
            ('"status"', SERVICE, "the command is not usable JSON: "),
            ('{"command": "statsu"}', SERVICE, "'statsu'"),
            (STATUS, "nobody", "nobody"),
        ):
            refused = await run(command, temporary, name)
            assert refused.returncode == 1 and words in refused.stderr
            assert "Traceback" not in refused.stderr
        nowhere = await run(STATUS, tmp_path)
        assert nowhere.returncode == 1 and nowhere.stderr.startswith(f"no socket of viam-server in {tmp_path}: ")
