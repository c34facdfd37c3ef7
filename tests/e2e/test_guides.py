"""The whole configs that the documents show, on the real viam-server as they stand there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .machines import RUN, until
from .test_convert import collectors_that_read
from .viam_server import ViamServer

ROOT = RUN.parent.parent


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
