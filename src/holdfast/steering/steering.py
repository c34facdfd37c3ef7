"""What steers the data manager while it runs: users by command, and the capture control sensor.

Belongs to the event loop and to the process, as the manager does: what steers goes on through every change of the
config. `changed` is called when something else is to run; it takes what `orders` and `sync_pause` say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ..base.clock import Clock
from ..base.filesystem import FileSystem
from ..base.tasks import supervised
from ..capture.client import UnaryClient
from ..capture.methods import sensor
from ..config import Config, ControlSensorConfig, short_name
from .control_sensor import Controls, ControlSensor
from .effective import Orders
from .machine_resources import resources_of_the_machine
from .open_sequences import Sequences
from .sensor_readings import sensor_readings
from .user_settings import CAPTURE, SYNC, UserSettings

LOOK_AGAIN_S = 5.0
_STOP_TIMEOUT_S = 2.0

logger = logging.getLogger(__name__)

Apis = Mapping[str, frozenset[str]]


class Steering:
    """See the module's docstring. `apply` at each configuration; `stop` must be called."""

    def __init__(self, files: FileSystem, clock: Clock, changed: Callable[[], None]) -> None:
        self.settings = UserSettings(files, clock, changed)
        self.sequences = Sequences(files, clock)
        self.control_state = ""
        """What the control sensor does, in words; empty where none is configured."""
        self._clock = clock
        self._changed = changed
        self._control: ControlSensor | None = None
        self._control_of: tuple[ControlSensorConfig, UnaryClient] | None = None
        self._controls = Controls()
        self._client: UnaryClient | None = None
        self._listed: dict[str, frozenset[str]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._unlisted: frozenset[str] = frozenset()

    @property
    def orders(self) -> Orders:
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
    def control(self) -> str:
        """What the control sensor does, for the status."""
        return self._control.state if self._control is not None else self.control_state

    def apply(self, config: Config, apis: Apis, client: UnaryClient | None, owned: Callable[[], bool]) -> None:
        """A service came with `config`. `apis` are those of the resources that are there."""
        self._client = client
        self.settings.place(config.capture_dir)
        self.sequences.place(config.capture_dir, owned)
        self.sequences.resume()
        if config.capture_disabled:
            self.sequences.end_all()
        self._apply_control(config, apis, client)

    async def hand_over(self) -> None:
        """The service goes away, and resources may: what holds goes on holding for a successor."""
        if self._control is not None:
            self._control.held = True
        await self.sequences.suspend()

    async def stop(self) -> None:
        """Ends the sequences and everything that runs. Settings go on holding for who comes next."""
        self._stop_control()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        ended = asyncio.gather(self.sequences.close(), self.settings.stop())
        try:
            await asyncio.wait_for(ended, _STOP_TIMEOUT_S)
        except asyncio.TimeoutError:
            logger.error("settings made by command, or ends of sequences, can't be written to disk")

    def all_known(self, given: Apis) -> dict[str, frozenset[str]]:
        """The APIs of all resources that are known: those `given`, and others that the machine has told of."""
        return {**self._listed, **given}

    def known(self, given: Apis, wanted: Iterable[str]) -> dict[str, frozenset[str]]:
        """As `all_known`. From now on the machine is asked while a name of `wanted` is not given; what it says then
        is a change."""
        self._unlisted = frozenset(name for name in wanted if name not in given)
        if self._unlisted and self._looking is None and self._client is not None:
            look = supervised("the machine's resources", self._look)
            self._looking = asyncio.get_running_loop().create_task(look, name="holdfast-catalog")
        return self.all_known(given)

    async def look_now(self) -> None:
        """Asks the machine what resources it has."""
        if self._client is not None:
            self._listed = await resources_of_the_machine(self._client) or self._listed

    async def _look(self) -> None:
        while self._unlisted:
            before = self._listed
            await self.look_now()
            if any(before.get(name) != self._listed.get(name) for name in self._unlisted):
                self._changed()
            await self._clock.sleep(LOOK_AGAIN_S)
        self._looking = None

    def _apply_control(self, config: Config, apis: Apis, client: UnaryClient | None) -> None:
        wanted, why = config.capture_control_sensor, ""
        if wanted is not None and config.capture_disabled:
            why = "capture is disabled"
        elif wanted is not None and (client is None or sensor.API not in apis.get(short_name(wanted.name), ())):
            why = f"the capture control sensor {wanted.name!r} is not there; the config applies"
        self.control_state = why
        if wanted is None or client is None or why:
            self._stop_control()
            return
        if self._control is not None and self._control_of == (wanted, client):
            self._control.held = False
            return
        self._stop_control()
        readings: Callable[[], Awaitable[Mapping[str, Any]]]
        readings = partial(sensor_readings, client, short_name(wanted.name))
        self._control = ControlSensor(self._clock, wanted.name, wanted.key, readings, self._take)
        self._control_of = (wanted, client)

    def _stop_control(self) -> None:
        """From now on the config holds, and no sequence of the sensor's is open."""
        if self._control is not None:
            self._control.stop()
        self._control, self._control_of, self._controls = None, None, Controls()
        self.sequences.follow(())

    def _take(self, controls: Controls) -> None:
        self._controls = controls
        self.sequences.follow(controls.sequences)
        self._changed()
