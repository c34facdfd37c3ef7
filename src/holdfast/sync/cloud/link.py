"""The link: whether the cloud can be reached, why not, and when it is tried again.

One task, `run`'s. Deliveries pass `admit` before each call and report how it went. While the link is down nobody
passes; while the cloud is connected but unwell, one call passes every 1–2 s, each time of another unit since those
that wait stand in line.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum

from ...base.clock import Clock, first_done
from ...errors import CloudError, NotConnectedError
from .backoff import link_backoff, unwell_backoff
from .cloud import Cloud, CloudSettings
from .verdicts import Verdict, verdict

_SAY_AGAIN_S = 60.0
_FIRST_CONNECT_TIMEOUT_S = 15.0
_IDLE_LOOK_S = 60.0
"""A way that nobody has used for so long is tried."""

COLLECTORS_UNTIL_STOP = 3

logger = logging.getLogger(__name__)


class LinkState(Enum):
    """In words for the status."""

    CONNECTING = "connecting"
    UP = "up"
    UNWELL = "cloud unavailable"
    ALL_REFUSED = "everything refused"
    DOWN = "no connection"
    LOGIN_REFUSED = "login refused"
    NO_CREDENTIALS = "no credentials"


_UNWELL = (LinkState.UNWELL, LinkState.ALL_REFUSED)


class SafetyStop:
    """Told of each unit that is accepted or refused for good, and by whom; says whether to believe a refusal."""

    def __init__(self) -> None:
        self._accepted = False
        self._refused: set[str] = set()

    def note_connection(self) -> None:
        """A new connection: nothing was accepted by whoever answers there."""
        self._accepted = False

    def note_acceptance(self) -> None:
        self._accepted = True
        self._refused.clear()

    def judge_refusal(self, collector: str) -> bool:
        """A unit of `collector` is refused for good: False when units of three collectors in a row were, and none
        was accepted since the last connect."""
        if self._accepted:
            return True
        if len(self._refused) < COLLECTORS_UNTIL_STOP:
            self._refused.add(collector)
        return len(self._refused) < COLLECTORS_UNTIL_STOP


class Link:
    """Keeps one `Cloud` connected. `run` until cancelled; then close the cloud."""

    def __init__(self, cloud: Cloud, settings: CloudSettings, clock: Clock) -> None:
        self.state = LinkState.CONNECTING
        self.why = ""
        self._cloud = cloud
        self._settings = settings
        self._clock = clock
        self._usable = asyncio.Event()
        self._tried = asyncio.Event()
        self._trouble = asyncio.Event()
        self._hurry = asyncio.Event()
        self._probing = asyncio.Lock()
        self._backoff = link_backoff()
        self._unwell_backoff = unwell_backoff()
        self._last_unwell_unit: str | None = None
        self._safety = SafetyStop()
        self._succeeded_s = 0.0

    @property
    def up(self) -> bool:
        """Whether calls may be made at full speed."""
        return self.state is LinkState.UP

    @property
    def usable(self) -> bool:
        """Whether calls may be made at all, though perhaps one at a time."""
        return self._usable.is_set()

    async def run(self) -> None:
        """Connects, waits for trouble, connects again; for ever."""
        if self._settings.missing:
            await self._without_credentials()
        while True:
            try:
                await self._cloud.connect()
            except CloudError as error:
                self._set(
                    LinkState.LOGIN_REFUSED if verdict(error) is Verdict.LOGIN else LinkState.DOWN, str(error)
                )
            else:
                self._safety.note_connection()
                self._trouble.clear()  # calls of the connection before this one may have reported until now
                self._set(LinkState.UP, "")
                await first_done(self._trouble.wait(), self._watch())
                if self.state is LinkState.DOWN:
                    continue  # a connection that broke is often back at once
            await self._pause(self._backoff.next_s())

    async def admit_call(self, *, wait: bool) -> None:
        """Returns when a call may be made; with `wait` false, raises NotConnectedError instead of waiting long."""
        while not self.up:
            if not wait and (not self.usable or self._probing.locked()):
                raise NotConnectedError(self.explanation)
            await self._usable.wait()
            if self.state in _UNWELL:
                async with self._probing:
                    if self.state in _UNWELL:
                        await self._clock.sleep(self._unwell_backoff.next_s())
                        return

    async def ensure_usable(self) -> None:
        """Returns when the link is usable; NotConnectedError when trying now does not help."""
        if not self.usable and not self._settings.missing:
            self._tried.clear()
            self._hurry.set()
            try:
                await asyncio.wait_for(self._tried.wait(), _FIRST_CONNECT_TIMEOUT_S)
            except asyncio.TimeoutError:
                self.why = self.why or "the cloud does not answer"
        if not self.usable:
            raise NotConnectedError(self.explanation)

    @property
    def explanation(self) -> str:
        return f"not connected to the cloud: {self.why or self.state.value}"

    def note_success(self) -> None:
        """A call went well."""
        self._last_unwell_unit = None
        self._backoff.reset()
        self._succeeded_s = self._clock.monotonic()
        self._safety.note_acceptance()
        if self.state in _UNWELL:
            self._unwell_backoff.reset()
            self._set(LinkState.UP, "")

    def judge_refusal(self, collector: str, error: CloudError) -> bool:
        """A unit of `collector` is refused for good; whether to believe it. If not, everything waits."""
        if self._safety.judge_refusal(collector):
            return True
        self._set(LinkState.ALL_REFUSED, f"{error}; nothing is accepted, so nothing more is given up")
        return False

    def judge_failure(self, unit: str, error: CloudError) -> Verdict:
        """A call for `unit` failed; returns what that means, and changes the link's state where it concerns it."""
        found = verdict(error)
        if found is Verdict.LINK:
            self._set(LinkState.DOWN, str(error))
        elif found is Verdict.LOGIN:
            self._set(LinkState.LOGIN_REFUSED, str(error))
        elif found is Verdict.UNWELL:
            if self._last_unwell_unit not in (None, unit) or self.state in _UNWELL:
                self._set(LinkState.UNWELL, str(error))
                found = Verdict.LINK
            else:
                found = Verdict.RETRY
            self._last_unwell_unit = unit
        elif found in (Verdict.QUARANTINE, Verdict.TOO_LARGE):
            found = Verdict.LINK if self.state is LinkState.ALL_REFUSED else Verdict.RETRY
        return Verdict.LINK if found is Verdict.LOGIN else found

    def _set(self, state: LinkState, why: str) -> None:
        before, self.state, self.why = self.state, state, why
        self._tried.set()
        if state in (LinkState.UP, *_UNWELL):
            self._usable.set()
        else:
            self._usable.clear()
            self._trouble.set()
        if state is LinkState.UP:
            if before is not LinkState.UP:
                logger.info("connected to the cloud")
        else:
            level = logging.ERROR if state in (LinkState.LOGIN_REFUSED, LinkState.ALL_REFUSED) else logging.WARNING
            logger.log(level, "%s: %s; data is kept, and sent when this is over", state.value, why)

    async def _watch(self) -> None:
        """Notices a connection that breaks while nobody uses it. Returns when the link is down."""
        while self.state is not LinkState.DOWN:
            looked_s = self._clock.monotonic()
            await first_done(self._cloud.until_lost(), self._clock.sleep(_IDLE_LOOK_S))
            if self._succeeded_s < looked_s:
                try:
                    await self._cloud.probe()
                except CloudError as error:
                    self._set(LinkState.DOWN, str(error))

    async def _pause(self, seconds: float) -> None:
        """Waits, or less when somebody is in a hurry."""
        self._hurry.clear()
        await first_done(self._clock.sleep(seconds), self._hurry.wait())

    async def _without_credentials(self) -> None:
        """Says what is missing, again each minute: only a new process can have other credentials."""
        while True:
            self._set(LinkState.NO_CREDENTIALS, self._settings.missing)
            await self._clock.sleep(_SAY_AGAIN_S)
