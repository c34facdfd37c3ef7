"""Errors that nobody foresaw, at each call that the threads for MongoDB make, cost counted readings at most."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from pathlib import Path

import pytest

from holdfast.base import unforeseen
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.mongo import spool as spool_module
from holdfast.mongo.spool import Spool
from holdfast.mongo.writer import MongoWriter
from tests.mongo_server import MongoServer
from tests.storage.samples import message
from tests.traps import Trap
from tests.waiting import eventually

from .test_writer import HERE, ORIGIN

READINGS = 40


def is_done(spool: Spool) -> bool:
    return not spool.waiting().readings


@pytest.mark.parametrize("where", ["disk", "monotonic", "server"])
async def test_an_error_at_any_call_costs_counted_readings_at_most(
    tmp_path: Path, quick_retries: None, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 500)
    for number in itertools.count():
        trap, server = Trap(number, ValueError("nobody foresaw this")), MongoServer()
        files = trap.disk() if where == "disk" else FileSystem()
        clock = trap.clock(where) if where == "monotonic" else SystemClock()
        connect = trap.of("connect", server.connect) if where == "server" else server.connect
        spool = Spool(files, clock, str(tmp_path / str(number)), 0.001, lambda: None)
        writer = MongoWriter(spool, clock, HERE, lambda: True, connect)
        for seq in range(READINGS):
            spool.append(ORIGIN, message(seq, {"seq": seq}))
            if seq == 0:  # without a flush, which may come before the thread looks at its clock
                await eventually(partial(is_done, spool))
            elif seq % 10 == 0:
                await spool.flush()
        await spool.flush()
        await eventually(partial(is_done, spool))
        await asyncio.to_thread(spool.close)
        await asyncio.to_thread(writer.stop)
        counts = spool.counts
        assert counts.taken == READINGS
        assert counts.written + sum(counts.dropped.values()) == counts.taken, (number, trap.sprung)
        assert set(counts.dropped) <= {unforeseen.REASON}
        assert len(set(server.seqs)) == counts.written, (number, trap.sprung)
        if not trap.sprung:
            break
    assert number > (20 if where == "disk" else 0)
