"""The command `capture_now`: one reading of a method, captured at once and sent if the caller wants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..base.words import shown
from ..capture.once import capture_once
from ..config import CaptureMethod, is_off, ordered
from ..errors import CommandError, NotConnectedError, NotReadyError
from ..manager import Manager
from ..steering import Orders, Wanted, effective
from .command import Argument, Arguments, Command, flag, mapping, text
from .resources import KnownResources, known_method, running

_DEFAULT_HZ = 1.0
"""The frequency of a method that is not captured. It says how long a recording lasts, which is one interval."""


async def _capture_now(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    with manager.captures_now.taken():
        return await _captured(manager, arguments)


async def _captured(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    known, resource = await known_method(manager, arguments["resource"], arguments["method"])
    wanted = _wanted(manager, known, resource, arguments["method"], arguments["params"])
    found = known.resolved(wanted.method)
    if found.waiting:
        raise CommandError(f"resource: {shown(resource)} is configured, but not there now")
    if found.problem:
        raise CommandError(f"params: {found.problem}")
    spec, engine = manager.spec_of(found, wanted.tags, manager.resources, known.config), manager.engine
    if spec is None or engine is None:
        raise CommandError("viam-server gave no way to call resources")
    captured = await capture_once(spec, manager.clock, engine.mongo.tee, engine.capture.answers)
    if not captured.paths:
        error = spec.writer.last_error or "it gave no reason"
        raise CommandError(f"{shown(resource)} answered, but the reading was not written to disk: {error}")
    return {
        "readings": captured.readings,
        "files": list(captured.paths),
        "delivery": await _deliver(manager, captured.paths) if arguments["sync"] else "with the next sync",
    }


def _wanted(
    manager: Manager, known: KnownResources, resource: str, method: str, params: dict[str, Any] | None
) -> Wanted:
    """Returns the pair as it runs, else as it is configured, else with defaults; with `params`, if given."""
    configured = known.configured_as(resource, method) or CaptureMethod(resource, method, 0.0)
    now = running(manager, known, resource, method)
    if now is None:
        hz = _DEFAULT_HZ if is_off(configured.frequency_hz) else configured.frequency_hz
        (now,) = effective([replace(configured, frequency_hz=hz)], known.config.tags, Orders(), known.apis)
    if params is None:
        return now
    return replace(now, method=replace(now.method, params=ordered(params)))


async def _deliver(manager: Manager, paths: tuple[str, ...]) -> str:
    try:
        report = await manager.sync_files(paths)
    except (NotConnectedError, NotReadyError) as error:
        return f"later: {error}"
    if report.failed.count:
        return f"later: {report.last_error}"
    if report.quarantined:
        return f"refused, kept in failed/: {report.last_error}"
    return "delivered"


CAPTURE_NOW = Command(
    "capture_now",
    "captures one reading now, even if capture is paused, and returns its files and how their delivery went",
    _capture_now,
    (
        Argument("resource", text, "the resource's name", required=True),
        Argument("method", text, "the method's name", required=True),
        Argument("params", mapping, "additional_params; those in the config if left out"),
        Argument(
            "sync",
            flag,
            "true, the default: sends it and waits for it; false: leaves it to the next sync",
            default=True,
        ),
    ),
)
