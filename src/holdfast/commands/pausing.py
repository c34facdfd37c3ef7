"""The commands `pause`, `resume` and `set_frequency`.

They make settings, which hold until a command undoes them or their time is over.
"""

from __future__ import annotations

from typing import Any

from ..config import LEAST_HZ, MOST_HZ, CaptureMethod, is_off, short_name
from ..errors import CommandError
from ..manager import Manager
from ..status import paused
from ..steering import CAPTURE, MAX_SETTINGS, SYNC, Setting
from .command import Argument, Arguments, Command, flag, number, seconds, text
from .resources import known_method, known_resources, unpaused

_WHAT = '"capture", "sync" (the scheduled one) or the name of a resource'
_FOR = Argument("for_s", seconds, "for how many seconds; no end if left out")
_PERSIST = Argument("persist", flag, "true: survives a restart; false, the default: does not", default=False)


async def _what(manager: Manager, what: str) -> str:
    if what in (SYNC, CAPTURE):
        return what
    return (await known_resources(manager, what)).resource("what", what, also=(CAPTURE, SYNC))


async def _pause(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    what = await _what(manager, arguments["what"])
    await _set(manager, Setting(what, for_s=arguments["for_s"]), persist=arguments["persist"])
    return {"paused": paused(manager), "problem": manager.steering.settings.problem}


async def _resume(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    given, settings = arguments["what"], manager.steering.settings
    what = next(filter(settings.is_paused, (given, short_name(given))), "") or await _what(manager, given)
    resumed = await settings.clear((what, ""))
    return {"resumed": resumed, "paused": paused(manager), "problem": settings.problem}


async def _set_frequency(manager: Manager, arguments: Arguments) -> dict[str, Any]:
    method, hz = arguments["method"], arguments["hz"]
    known, resource = await known_method(manager, arguments["resource"], method)
    before = unpaused(manager, known, resource, method)
    if hz is None:
        await manager.steering.settings.clear((resource, method))
    else:
        if known.configured_as(resource, method) is None and not is_off(hz):
            found = known.resolved(CaptureMethod(resource, method, hz))
            if found.problem:
                raise CommandError(f"{found.problem}; configure it in capture_methods")
        setting = Setting(resource, method, 0.0 if is_off(hz) else hz, for_s=arguments["for_s"])
        await _set(manager, setting, persist=arguments["persist"])
    after = unpaused(manager, known, resource, method)
    return {
        "resource": resource,
        "method": method,
        "old_hz": before.method.frequency_hz if before else 0.0,
        "new_hz": after.method.frequency_hz if after else 0.0,
        "paused": [each for each in paused(manager) if each["what"] in (CAPTURE, resource, short_name(resource))],
        "problem": manager.steering.settings.problem,
    }


async def _set(manager: Manager, setting: Setting, *, persist: bool) -> None:
    if not await manager.steering.settings.set(setting, persist=persist):
        raise CommandError(
            f"{MAX_SETTINGS} pauses and frequencies are set already, or their names are too long: undo some first"
        )


def _hz(name: str, value: Any) -> float:
    found = number(name, value)
    if found and not LEAST_HZ <= found <= MOST_HZ:
        raise CommandError(f"{name} must be 0, or from {LEAST_HZ:g} to {MOST_HZ:g}, not {value:g}")
    return found


PAUSE = Command(
    "pause",
    "pauses capture, of one resource or all, or scheduled sync, until resume; returns what is paused until when",
    _pause,
    (Argument("what", text, _WHAT, required=True), _FOR, _PERSIST),
)
RESUME = Command(
    "resume",
    "ends a pause; returns what is still paused",
    _resume,
    (Argument("what", text, _WHAT, required=True),),
)
SET_FREQUENCY = Command(
    "set_frequency",
    "captures a method of a resource at another frequency than the config or the control sensor says; returns the "
    "old and the new one",
    _set_frequency,
    (
        Argument("resource", text, "the resource's name", required=True),
        Argument("method", text, "the method's name", required=True),
        Argument("hz", _hz, f"from {LEAST_HZ:g} to {MOST_HZ:g}; 0 is off, null undoes an earlier set_frequency"),
        _FOR,
        _PERSIST,
    ),
)
