"""Capture to a real MongoDB on the real viam-server: the builtin's documents, and a kill that costs nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from bson.raw_bson import RawBSONDocument

from holdfast.capture.methods import TABLES, TabularMethod
from tests.mongod import DATABASE, ESCAPED, PASSWORD, Mongod, mongod, the_mongod

from .machines import MODULE, RUN, Servers, a_machine, readings_of, until
from .parity.pair import TAGS, local_machine, module
from .parity.rows import Compared, Row, as_builtin, as_ours
from .parity.table import TABLE
from .viam_server import ViamServer

__all__ = ["mongod", "the_mongod"]

ROWS = [
    row
    for row in TABLE
    if row.compared is Compared.EXACT
    and not row.remote
    and isinstance(TABLES.get(row.resource.api, {}).get(row.method), TabularMethod)
]


async def test_both_write_equal_documents(viam_server_binary: Path, tmp_path: Path, mongod: Mongod) -> None:
    """For the same answers of the same resources, into the same server: equal but for `_id` and the times."""
    servers = {name: ViamServer(viam_server_binary, tmp_path / name) for name in ("builtin", "ours")}
    machine = local_machine()
    for name in servers:
        mongod.collection(name).drop()

    def attributes(name: str) -> dict[str, Any]:
        mongo = {"uri": mongod.uri, "database": DATABASE, "collection": name}
        folder = str(tmp_path / name / "captured")
        return {"capture_dir": folder, "sync_disabled": True, "tags": TAGS, "mongo_capture_config": mongo}

    with_module = {**machine, "modules": [*machine["modules"], module(MODULE, RUN)]}
    configs = {
        "builtin": as_builtin(ROWS, machine, attributes("builtin")),
        "ours": as_ours(ROWS, with_module, attributes("ours")),
    }
    wanted = {_key(row) for row in ROWS}
    assert len(wanted) > 20
    try:
        await asyncio.gather(*(server.start(configs[name]) for name, server in servers.items()))

        def each_is_there() -> bool:
            return all(wanted <= set(_documents(mongod, name)) for name in servers)

        await until(each_is_there, "a document of each row, of both", 60.0)
    finally:
        await asyncio.gather(*(server.stop() for server in servers.values()))
    builtin, ours = (_documents(mongod, name) for name in servers)
    assert set(builtin) == set(ours) == wanted
    for key in sorted(wanted):
        assert builtin[key] == ours[key], key
    log = servers["ours"].log_text()
    said = [line for line in log.splitlines() if (PASSWORD in line or ESCAPED in line) and "holdfast" in line]
    assert said == []


def _key(row: Row) -> tuple[str, str, str]:
    return row.resource.api, row.name, row.method


def _documents(mongod: Mongod, collection: str) -> dict[tuple[str, str, str], set[str]]:
    """The distinct documents of each collector: names and order of the fields, BSON types, and all values but
    `_id` and the times."""
    found: dict[tuple[str, str, str], set[str]] = {}
    raw = mongod.collection(collection).with_options(
        codec_options=mongod.collection(collection).codec_options.with_options(document_class=RawBSONDocument)
    )
    for each in raw.find():
        fields = [(name, type(value).__name__) for name, value in each.items()]
        key = (each["component_type"], each["component_name"], each["method_name"])
        found.setdefault(key, set()).add(f"{fields} {_typed(each['data'])}")
    return found


def _typed(value: Any) -> str:
    """A value with its types; the order of names in `data` is random in the builtin."""
    if hasattr(value, "items"):
        return "{" + ", ".join(f"{name!r}: {_typed(inner)}" for name, inner in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_typed, value)) + "]"
    return f"{type(value).__name__} {value!r}"


async def test_readings_spooled_at_a_sigkill_arrive_once_and_in_order(
    viam_server: Servers, tmp_path: Path, mongod: Mongod
) -> None:
    """The server is away, the module is killed, the server comes back: what lay on the disk is there."""
    async with a_machine(viam_server, tmp_path) as machine:
        source = machine.source("counting")
        mongod.collection("killed").drop()
        await machine.start(
            components=[source.component],
            sync_disabled=True,
            capture_methods=[readings_of("counting", 100, max_in_flight=1)],
            mongo_capture_config={"uri": mongod.uri, "collection": "killed"},
        )
        await until(lambda: len(mongod.seqs("killed")) > 100, "readings arrive")
        await asyncio.to_thread(mongod.kill)
        await machine.until_status(
            lambda status: (
                status["mongo"]["state"] == "no connection" and status["mongo"]["waiting_readings"] > 200
            ),
            "readings wait",
        )
        [pid] = machine.server.module_pids(MODULE)
        os.kill(pid, signal.SIGKILL)
        await machine.until_status(
            lambda status: status["process"]["pid"] != pid and status["mongo"]["found"] > 100,
            "another process of the module has found what waited",
        )
        await asyncio.to_thread(mongod.start)
        await machine.until_status(lambda status: status["mongo"]["state"] == "up", "the server is back")
        machine.change(capture_disabled=True)
        await machine.until_status(
            lambda status: not status["capture"]["enabled"] and not status["mongo"]["waiting_readings"],
            "everything is written",
        )
        arrived = mongod.seqs("killed")
        assert [seq for seq, count in Counter(arrived).items() if count > 1] == []
        assert arrived == sorted(arrived)
        lost = set(source.seqs) - set(arrived)
        assert len(lost) <= 130  # at most a flush interval at 100 Hz, and what the kill cut off on its way
        assert lost == set() or max(lost) - min(lost) == len(lost) - 1
        status = await machine.status()
        assert PASSWORD not in str(status) and ESCAPED not in str(status)
