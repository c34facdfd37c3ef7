"""Everything that changes what the configuration says while the process runs, in one object.

Users pause, resume and set frequencies by command (`settings`); the capture control sensor overrides frequencies
and tags; both mark sequences (`sequences`). `Steering` belongs to the process, as the manager does: what it holds
outlives every change of the config. It decides nothing about collectors: `changed` is called when `orders` or
`sync_pause` may say something else than before, and the manager acts on them. Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.problems import Kind, Problem
from ..capture.client import UnaryClient
from ..capture.methods import sensor
from ..config import Config, ControlSensorConfig, short_name
from .control_sensor import Controls, ControlSensor
from .effective import Orders
from .machine_resources import Apis, MachineResources
from .open_sequences import OpenSequences
from .sensor_readings import Readings, sensor_readings
from .user_settings import CAPTURE, SYNC, UserSettings

_STOP_TIMEOUT_S = 2.0
_PATIENCE_S = 15.0
"""How long the control sensor may fail before that is a problem: one reading that fails is none."""

logger = logging.getLogger(__name__)


class Steering:
    """See the module's docstring. `configure` comes first, at each configuration; `stop` must be called."""

    def __init__(self, files: FileSystem, clock: Clock, changed: Callable[[], None]) -> None:
        self.settings = UserSettings(files, clock, changed)
        self.sequences = OpenSequences(files, clock)
        self.resources = MachineResources(clock, changed)
        self._clock = clock
        self._changed = changed
        self._sensor: ControlSensor | None = None
        self._sensor_origin: tuple[ControlSensorConfig, UnaryClient] | None = None
        """What `_sensor` was made of: a configuration with the same leaves it alone."""
        self._why_no_sensor = ""
        self._is_sensor_missing = False
        self._controls = Controls()
        """What the sensor said last; nothing without a sensor."""

    @property
    def orders(self) -> Orders:
        """What holds for capture instead of the config."""
        return Orders(
            self._controls.overrides,
            self.settings.frequencies,
            self.settings.paused_resources,
            self.settings.is_paused(CAPTURE),
        )

    @property
    def sync_pause(self) -> str:
        """Why scheduled sync has to wait; empty when it has not."""
        return "paused by command; a manual sync works" if self.settings.is_paused(SYNC) else ""

    @property
    def control_sensor_state(self) -> str:
        """What the capture control sensor does, or why the config applies instead; empty if none is configured."""
        return self._sensor.state if self._sensor is not None else self._why_no_sensor

    @property
    def problems(self) -> Iterator[Problem]:
        """What keeps the control sensor, or settings made by command, from their effect now."""
        if self._sensor is not None and self._sensor.problem:
            what = f"the capture control sensor {self._sensor.name!r}: {self._sensor.problem}"
            yield Problem(Kind.STEERING, what, "see what that sensor reads", key="sensor", patience_s=_PATIENCE_S)
        elif self._is_sensor_missing:
            yield Problem(Kind.STEERING, self._why_no_sensor, "correct its name", patience_s=_PATIENCE_S)
        if self.settings.problem:
            what = f"settings made by command: {self.settings.problem}"
            yield Problem(Kind.STATE, what, self.settings.remedy, key="settings")

    def configure(self, config: Config, apis: Apis, client: UnaryClient | None, owned: Callable[[], bool]) -> None:
        """Makes `config` hold, which a service brought.

        `apis` are those of the resources that are there, and `client` calls them; `owned` tells whether the lock of
        the capture folder is ours. Settings stay, and suspended sequences continue.
        """
        self.resources.configure(client, apis, config.dependencies)
        self.settings.place(config.capture_dir)
        self.sequences.place(config.capture_dir, owned)
        self.sequences.resume()
        if config.capture_disabled:
            self.sequences.end_all()
        self._configure_sensor(config, apis, client)

    async def hand_over(self) -> None:
        """Prepares for the service to go away, and its resources with it: everything keeps holding for a successor.

        Returns when the open sequences are on the disk as ended, if the disk takes them.
        """
        if self._sensor is not None:
            self._sensor.suspend()
        await self.sequences.suspend()

    async def stop(self) -> None:
        """Ends the sequences and every task, and returns when the disk has what it is to have, or after
        `_STOP_TIMEOUT_S`. Settings keep holding for a later `configure`."""
        self._stop_sensor()
        self.resources.stop()
        ended = asyncio.gather(self.sequences.close(), self.settings.stop())
        try:
            await asyncio.wait_for(ended, _STOP_TIMEOUT_S)
        except asyncio.TimeoutError:
            logger.error("settings made by command, or ends of sequences, can't be written to disk")

    def _configure_sensor(self, config: Config, apis: Apis, client: UnaryClient | None) -> None:
        wanted = config.capture_control_sensor
        self._why_no_sensor, self._is_sensor_missing = "", False
        if wanted is not None and config.capture_disabled:
            self._why_no_sensor = "capture is disabled"
        elif wanted is not None and (client is None or sensor.API not in apis.get(short_name(wanted.name), ())):
            self._why_no_sensor = f"the capture control sensor {wanted.name!r} is not there; the config applies"
            self._is_sensor_missing = True
        if wanted is None or client is None or self._why_no_sensor:
            self._stop_sensor()
            return
        if self._sensor is not None and self._sensor_origin == (wanted, client):
            self._sensor.resume()
            return
        self._stop_sensor()
        readings: Readings = partial(sensor_readings, client, short_name(wanted.name))
        self._sensor = ControlSensor(self._clock, wanted.name, wanted.key, readings, self._apply_controls)
        self._sensor_origin = (wanted, client)

    def _stop_sensor(self) -> None:
        """Makes the config hold again, and ends the sequences of the sensor."""
        if self._sensor is not None:
            self._sensor.stop()
        self._sensor, self._sensor_origin, self._controls = None, None, Controls()
        self.sequences.follow(())

    def _apply_controls(self, controls: Controls) -> None:
        self._controls = controls
        self.sequences.follow(controls.sequences)
        self._changed()
