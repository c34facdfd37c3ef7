"""Two viam-servers with the same resources and the table's rows: one captures by itself, one with our module."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..machines import MODULE, RUN, until
from ..viam_server import ViamServer
from .records import Captured, captured
from .rows import Compared, Row, as_builtin, as_ours
from .table import AFAR, FAR_AWAY, PLAIN_REMOTE, PREFIX, REMOTE, RESOURCES

TAGS = ["blue", "Ä/b: c"]
_COMPONENTS = Path(__file__).parent / "components" / "run.sh"
_FIRST_READING_S = 20.0
_SEVERAL_READINGS_S = 4.0
_LONGEST_ANSWER_NS = 1_500_000_000
"""A second of sound, and some for its way."""


@dataclass(frozen=True, repr=False)
class Pair:
    builtin: Captured
    ours: Captured


async def capture(binary: Path, folder: Path, rows: Sequence[Row]) -> Pair:
    """Lets both capture for some seconds, ends both, and reads what they wrote."""
    remote, plain = ViamServer(binary, folder / "remote"), ViamServer(binary, folder / "plain")
    builtin, ours = ViamServer(binary, folder / "builtin"), ViamServer(binary, folder / "ours")
    try:
        await remote.start({"components": [each.config() for each in FAR_AWAY]})
        await plain.start({"components": [each.config() for each in AFAR]})
        remotes = [
            {"name": REMOTE, "address": remote.bind_address, "prefix": PREFIX, "insecure": True},
            {"name": PLAIN_REMOTE, "address": plain.bind_address, "insecure": True},
        ]
        machine = {**local_machine(), "remotes": remotes}
        with_module = {**machine, "modules": [*machine["modules"], module(MODULE, RUN)]}
        configs = {
            builtin: as_builtin(rows, machine, _data_manager(builtin)),
            ours: as_ours(rows, with_module, _data_manager(ours)),
        }
        first = [row for row in rows if not row.remote and ":component:" in row.resource.api]
        await asyncio.gather(*(server.start(_quick_to_start(config)) for server, config in configs.items()))
        await _until_each_has_a_reading(first, *configs)
        for server, config in configs.items():
            server.write_config(config)
        await _until_each_has_a_reading(rows, *configs)
        # The builtin keeps readings in memory: there is nothing to wait for.
        await asyncio.sleep(_SEVERAL_READINGS_S)
        # The end of the machine may cut an answer short: what is asked for from here on does not count.
        until_ns = time.time_ns() - _LONGEST_ANSWER_NS
    finally:
        await asyncio.gather(*(server.stop() for server in (remote, plain, builtin, ours)))
    return Pair(*(captured(_capture_dir(server), server.log_text(), until_ns) for server in configs))


def _quick_to_start(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without what viam-server looks at again after each resource that it builds."""
    services = [{**service, "depends_on": []} for service in config["services"]]
    return {**config, "remotes": [], "services": services}


async def _until_each_has_a_reading(rows: Sequence[Row], *servers: ViamServer) -> None:
    """Returns all the same when a row stays without one: its own test fails, and no other."""
    written = [row for row in rows if row.compared not in (Compared.NOTHING, Compared.BUILTIN, Compared.OURS)]
    folders = {_capture_dir(server) / row.folder for server in servers for row in written}

    def all_are_there() -> bool:
        folders.difference_update([each for each in folders if each.is_dir() and any(each.iterdir())])
        return not folders

    with suppress(AssertionError):
        await until(all_are_there, "each row has a reading", _FIRST_READING_S)


def local_machine() -> dict[str, Any]:
    """The config of the rows' resources that are not on a remote, without a data manager."""
    configs = [each.config() for each in RESOURCES]
    return {
        "modules": [module("answers", _COMPONENTS)],
        "components": [each for each in configs if ":component:" in each["api"]],
        "services": [each for each in configs if ":service:" in each["api"]],
        "remotes": [],
    }


def module(name: str, path: Path) -> dict[str, Any]:
    """An entry for a config's `modules`."""
    return {"name": name, "type": "local", "executable_path": str(path)}


def _capture_dir(server: ViamServer) -> Path:
    return server.folder / "captured"


def _data_manager(server: ViamServer) -> Mapping[str, Any]:
    return {"capture_dir": str(_capture_dir(server)), "sync_disabled": True, "tags": TAGS}
