"""Steering on the real viam-server: the control sensor beside the builtin's, commands, sequences both ways."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError

from .machines import Machine, Servers, a_machine, collector, readings_of, sensor, until

A, B = ("source-a", "Readings"), ("source-b", "Readings")
KEY = "controls"
TAGS = ("of-the-service",)
_WINDOW_S = 1.5
_TOLERANCE = 0.3
"""Of a rate that is seen for `_WINDOW_S`; the rates here lie further apart."""


def override(pair: tuple[str, str], hz: float | None = None, **more: Any) -> dict[str, Any]:
    found = {"resource_name": pair[0], "method": pair[1], **more}
    return found if hz is None else {**found, "capture_frequency_hz": hz}


def marked(*pairs: tuple[str, str], tags: Sequence[str] = ()) -> dict[str, Any]:
    return {"resources": [override(pair) for pair in pairs], "sequence_tags": list(tags)}


class Steered:
    """A machine with two sources, of which the config captures the first at 10 Hz, and a control sensor."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.path = folder / "controls.json"
        self.sources = {pair: machine.source(pair[0]) for pair in (A, B)}
        self.attributes = {"tags": list(TAGS), "capture_control_sensor": {"name": "gate", "key": KEY}}

    @property
    def components(self) -> list[dict[str, Any]]:
        gate = sensor("gate", "reading", path=str(self.path))
        return [*(source.component for source in self.sources.values()), gate]

    def say(self, reading: Mapping[str, Any] | None) -> None:
        """What the control sensor says from now on; None: it fails."""
        if reading is None:
            self.path.unlink(missing_ok=True)
            return
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(reading))
        os.replace(new, self.path)

    async def start(self) -> None:
        await self.machine.start(
            components=self.components, capture_methods=[readings_of(A[0], 10)], **self.attributes
        )

    async def start_builtin(self) -> None:
        """The same, with viam-server's own data manager."""
        self.machine.components = self.components
        config = self.machine.config()
        method = {"method": "Readings", "capture_frequency_hz": 10, "additional_params": {}}
        capture = [{"type": "data_manager", "attributes": {"capture_methods": [method]}}]
        config["components"][0] = {**config["components"][0], "service_configs": capture}
        config["modules"] = config["modules"][1:]
        config["services"] = [
            {
                "name": "builtin",
                "api": "rdk:service:data_manager",
                "model": "rdk:builtin:builtin",
                "attributes": {
                    "capture_dir": str(self.machine.capture_dir),
                    "sync_interval_mins": 0.005,
                    **self.attributes,
                },
            }
        ]
        self.machine.take(config)
        await self.machine.server.start_connected(self.machine.cloud.address, part_id="part-1")

    async def until_captured(self, what: Mapping[tuple[str, str], tuple[float, tuple[str, ...]]]) -> None:
        """Returns when for a while each source was read at its rate, or not at all, and its data has its tags."""

        async def so_it_is() -> bool:
            before, began_ns = {pair: len(source.served) for pair, source in self.sources.items()}, time.time_ns()
            await asyncio.sleep(_WINDOW_S)
            after, lasted_s = (
                {pair: len(source.served) for pair, source in self.sources.items()},
                (time.time_ns() - began_ns) / 1e9,  # on a busy computer longer than it should
            )
            return all(
                abs(after[pair] - before[pair] - hz * lasted_s) <= hz * lasted_s * _TOLERANCE
                for pair in self.sources
                for hz, _ in [what.get(pair, (0.0, ()))]
            ) and all(
                {reading.tags for reading in self.machine.of(pair[0]) if reading.requested_ns >= began_ns} <= {tags}
                and any(reading.tags == tags for reading in self.machine.of(pair[0]))
                for pair, (_, tags) in what.items()
            )

        await until(so_it_is, f"{self.machine.folder.name} captures {what}", 45.0)

    @property
    def open_sequences(self) -> int:
        return len([*(self.machine.capture_dir / "sequences").glob("*.progseq")])

    @property
    def sequences(self) -> list[dict[str, Any]]:
        """What reached the cloud."""
        paths = [*self.machine.folder.glob("cloud-of-*/sequences.jsonl")]
        assert len(paths) <= 1
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


PHASES: tuple[tuple[Mapping[str, Any] | None, Mapping[tuple[str, str], tuple[float, tuple[str, ...]]]], ...] = (
    ({KEY: []}, {A: (10, TAGS)}),
    ({KEY: [override(A, 40, tags=["fast"])]}, {A: (40, ("fast",))}),
    ({KEY: [override(A, 0), override(B, 20)]}, {B: (20, TAGS)}),
    ({KEY: [override(A, tags=[]), override(B, 0)]}, {A: (10, ())}),
    ({"other": 1}, {A: (10, TAGS)}),
    ({KEY: [override(A, 40), override(B, 20, tags=["b"])]}, {A: (40, TAGS), B: (20, ("b",))}),
    ({KEY: [override(A, 40), {**override(B), "capture_frequency_hz": "20"}]}, {A: (10, TAGS)}),
    ({KEY: [override(A, -1), override(("nobody", "Readings"), 5), override(B, tags=["b"])]}, {}),
    (None, {A: (10, TAGS)}),
)


async def test_both_data_managers_do_what_the_control_sensor_says(viam_server: Servers, tmp_path: Path) -> None:
    folders = tmp_path / "ours", tmp_path / "builtin"
    for folder in folders:
        folder.mkdir()
    async with (
        a_machine(viam_server, folders[0], connected=True, name="ours") as ours,
        a_machine(viam_server, folders[1], connected=True, name="builtin") as builtin,
    ):
        both = Steered(ours, folders[0]), Steered(builtin, folders[1])
        for each in both:
            each.say({KEY: []})
        await asyncio.gather(both[0].start(), both[1].start_builtin())
        for reading, expected in PHASES:
            for each in both:
                each.say(reading)
            await asyncio.gather(*(each.until_captured(expected) for each in both))

        sequences = [marked(A, B, tags=["x"]), marked(A), marked(tags=["nothing"]), marked(B, A, tags=["x"])]
        for each in both:
            each.say({"sequences": sequences})
        await until(lambda: all(each.open_sequences == 2 for each in both), "both sequences are open in both")
        for each in both:
            each.say({"sequences": [marked(A)]})
        await until(lambda: all(len(each.sequences) == 1 for each in both), "one sequence ended")
        for each in both:
            each.say(None)
        await until(lambda: all(len(each.sequences) == 2 for each in both), "both ended")
        told = [[{**found, "start_time": 0, "end_time": 0} for found in each.sequences] for each in both]
        assert told[0] == told[1]
        assert set(both[0].sequences[0]) == {"part_id", "resources", "sequence_tags", "start_time", "end_time"}
        log = ours.server.log_text()
        assert "Traceback" not in log and "failed unexpectedly" not in log


async def test_commands_steer_through_viam_server(viam_server: Servers, tmp_path: Path) -> None:
    async with a_machine(viam_server, tmp_path) as machine:
        a, b = machine.source("source-a"), machine.source("source-b")
        pair = {"resource": "source-a", "method": "Readings"}
        await machine.start(components=[a.component, b.component], capture_methods=[readings_of("source-a", 20)])
        await machine.until_captured("source-a", 10)

        answer = await machine.command(command="set_frequency", resource="source-b", method="Readings", hz=20)
        assert (answer["old_hz"], answer["new_hz"]) == (0, 20)
        await machine.until_captured("source-b", 10)

        answer = await machine.command(command="pause", what="source-a", persist=True)
        assert answer["paused"] == [{"what": "source-a", "until": "", "persist": True}]
        await until(lambda: sorted(machine.seqs("source-a")) == a.seqs, "what was under way has arrived")
        served = len(a.served)
        (module,) = machine.server.module_pids("holdfast")
        os.kill(module, 9)
        await machine.disconnect()
        await until(
            lambda: machine.server.module_pids("holdfast") not in ([], [module]), "the module is started again"
        )
        status = await machine.until_status(lambda status: status["paused"], "the pause is known")
        assert status["steering"]["frequencies"] == [] and len(a.served) == served

        answer = await machine.command(command="capture_now", **pair)
        assert (answer["readings"], answer["delivery"]) == (1, "delivered")
        assert len(a.served) == served + 1 and served in machine.seqs("source-a")

        await machine.command(command="resume", what="source-a")
        await machine.until_captured("source-a", 10)
        assert collector(await machine.status(), "source-a")["hz"] == 20
        try:
            await machine.command(command="pause", what="sourc-a")
        except GRPCError as error:
            assert error.status is Code.INVALID_ARGUMENT and "did you mean 'source-a'" in str(error.message)
        else:
            raise AssertionError("an unknown resource was paused")


async def test_what_each_data_manager_left_of_a_sequence_the_other_finishes(
    viam_server: Servers, tmp_path: Path
) -> None:
    folder = tmp_path / "machine"
    folder.mkdir()
    sequences = folder / "captured" / "sequences"
    failed = folder / "captured" / "failed" / "sequences"

    def left(extension: str) -> list[str]:
        return [path.stem for path in sequences.glob(f"*{extension}")]

    async with a_machine(viam_server, folder, connected=True) as machine:
        steered = Steered(machine, folder)

        # The builtin ends one that the cloud does not take, and is killed with another one open: we send the one,
        # and keep the other, of which nobody knows when it ended.
        machine.cloud.fail_while = _no_sequence
        steered.say({"sequences": [marked(A, tags=["builtin ended"]), marked(A, tags=["builtin left"])]})
        await steered.start_builtin()
        await until(lambda: len(left(".progseq")) == 2, "the builtin's sequences are open")
        steered.say({"sequences": [marked(A, tags=["builtin left"])]})
        await until(lambda: left(".seq"), "one ended")
        (unfinished,) = left(".progseq")
        machine.server.sigkill()
        await machine.server.stop()
        steered.say({})
        machine.cloud.fail_while = None
        await steered.start()
        await until(lambda: [found["sequence_tags"] for found in steered.sequences] == [["builtin ended"]], "sent")
        await until(lambda: (failed / f"{unfinished}.progseq.cause.json").exists(), "the other is kept")
        assert left(".seq") == left(".progseq") == []

        # We end one that the cloud does not take, and viam-server goes with another one open: the builtin sends
        # both.
        machine.cloud.fail_while = _no_sequence
        steered.say({"sequences": [marked(A, tags=["ours ended"]), marked(A, tags=["ours left"])]})
        await until(lambda: len(left(".progseq")) == 2, "our sequences are open")
        steered.say({"sequences": [marked(A, tags=["ours left"])]})
        await until(lambda: left(".seq"), "one ended")
        await machine.stop()
        assert len(left(".seq")) == 2 and left(".progseq") == []
        steered.say({})
        machine.cloud.fail_while = None
        await steered.start_builtin()
        await until(lambda: len(steered.sequences) == 3, "the builtin sends what we left")
        assert {found["sequence_tags"][0] for found in steered.sequences[1:]} == {"ours ended", "ours left"}
        assert all(found["start_time"] < found["end_time"] for found in steered.sequences)
        await until(lambda: left(".seq") == [], "and deletes it")


def _no_sequence(method: str, request: bytes | None) -> grpc.StatusCode | None:
    return grpc.StatusCode.UNAVAILABLE if method == "CreateSequence" else None
