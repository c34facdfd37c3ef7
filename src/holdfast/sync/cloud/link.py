"""The link: whether the cloud can be reached, why not, and when it is tried again.

A caller awaits `admit_call` before each call, and reports the result by `note_success`, `judge_failure` or
`judge_refusal`. While the link is down, no call is admitted. While the cloud is connected but unavailable, or
refuses everything, one call is admitted every 1–2 s, later up to every minute. Callers wait in line, so each such
call is of another unit.

Runs on the event loop, in one task: `run`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from enum import Enum

from ...base.clock import Clock, first_done
from ...base.problems import Kind, Problem
from ...errors import CloudError, NotConnectedError
from .backoff import link_backoff, unwell_backoff
from .cloud import Cloud, CloudSettings
from .refusals import Refusals, Version
from .verdicts import Verdict, verdict

_SAY_AGAIN_S = 60.0
_FIRST_CONNECT_TIMEOUT_S = 15.0
_LOOK_S = 5.0
"""Calls of which nothing moves for so long are a reason to look whether the cloud can still be reached…"""
_IDLE_LOOK_S = 60.0
"""…and so is a connection that carried no call for so long."""

logger = logging.getLogger(__name__)


class LinkState(Enum):
    """The state of the link. Its value is the text in the status and in the log."""

    CONNECTING = "connecting"
    UP = "up"
    UNWELL = "cloud unavailable"
    """The connection stands, but calls of several units failed: one call at a time is tried."""
    ALL_REFUSED = "everything refused"
    """The connection stands, but everything is refused in a row: one call at a time is tried."""
    DOWN = "no connection"
    LOGIN_REFUSED = "login refused"
    NO_CREDENTIALS = "no credentials"


_REMEDIES = {
    LinkState.LOGIN_REFUSED: "give the machine a valid API key in the app (docs/troubleshooting.md)",
    LinkState.NO_CREDENTIALS: "give the machine an API key in the app, or with a local config put VIAM_API_KEY_ID, "
    "VIAM_API_KEY and VIAM_MACHINE_PART_ID into env of the module; viam-server then restarts the module",
    LinkState.ALL_REFUSED: "see what answers in the cloud's place, such as a captive portal or a proxy",
}
"""What a person can do about a state that does not end by itself."""
_ENDS_S = 300.0
"""How long another state may last before that is a problem, since it often ends by itself."""

_UNWELL = (LinkState.UNWELL, LinkState.ALL_REFUSED)


class Link:
    """Keeps one `Cloud` connected.

    The owner runs `run` until it cancels it, and then closes the cloud.
    """

    def __init__(self, cloud: Cloud, settings: CloudSettings, clock: Clock) -> None:
        self.state = LinkState.CONNECTING
        self.why = ""
        """Why the link is not up; empty if it is up or was not tried yet."""
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
        self._refusals = Refusals(clock)
        self._succeeded_s = 0.0

    @property
    def up(self) -> bool:
        """Whether calls may be made at full speed."""
        return self.state is LinkState.UP

    @property
    def usable(self) -> bool:
        """Whether calls may be made at all, even if one at a time."""
        return self._usable.is_set()

    async def run(self) -> None:
        """Connects, waits until the connection fails, and connects again. Returns only when cancelled."""
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
                self._refusals.note_connection()
                self._trouble.clear()  # calls over the connection before this one may have set it until now
                self._set(LinkState.UP, "")
                await first_done(self._trouble.wait(), self._watch_connection(), self._watch_calls())
                if self.state is LinkState.DOWN:
                    continue  # often a new connection works at once
            await self._pause(self._backoff.next_s())

    async def admit_call(self, *, wait: bool) -> float:
        """Returns when a call may be made, with the monotonic time: `note_success` wants to know when it began.

        Raises NotConnectedError if `wait` is false and the link is down or another call is just trying it.
        """
        while not self.up:
            if not wait and (not self.usable or self._probing.locked()):
                raise NotConnectedError(self.explanation)
            await self._usable.wait()
            if self.state in _UNWELL:
                async with self._probing:
                    if self.state in _UNWELL:
                        await self._clock.sleep(self._unwell_backoff.next_s())
                        return self._clock.monotonic()
        return self._clock.monotonic()

    async def ensure_usable(self) -> None:
        """Returns when the link is usable. If it is down, the next attempt to connect begins at once.

        Raises NotConnectedError if that attempt fails, or takes longer than 15 s, and at once if the environment
        has no credentials.
        """
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
    def way(self) -> str:
        """How the cloud is reached, as a text for users: directly at which address, or through which proxy. Empty
        while it is not."""
        return self._cloud.way

    def problems(self, cost: str) -> Iterator[Problem]:
        """What keeps data from the cloud now. `cost` says how much waits."""
        if self.state in _REMEDIES:
            what = f"{self.state.value}: {self.why}; nothing is sent until this is over"
            yield Problem(Kind.LINK, what, _REMEDIES[self.state], cost, self.state.value)
        elif self.state not in (LinkState.UP, LinkState.CONNECTING):  # no attempt has failed while it is CONNECTING
            what = f"{self.explanation}; nothing is sent until this is over"
            yield Problem(Kind.LINK, what, "check the network (docs/troubleshooting.md)", cost, "down", _ENDS_S)
        for each in self._cloud.problems:  # of what the environment says of proxies and certificates
            yield Problem(Kind.LINK, each)

    @property
    def explanation(self) -> str:
        """Why there is no connection, as a text for users."""
        return f"not connected to the cloud: {self.why or self.state.value}"

    def note_success(self, began_s: float) -> None:
        """Notes that a call that began at `began_s` succeeded."""
        self._last_unwell_unit = None
        self._backoff.reset()
        self._succeeded_s = self._clock.monotonic()
        self._refusals.note_acceptance(began_s)
        if self.state in _UNWELL:
            self._unwell_backoff.reset()
            self._set(LinkState.UP, "")

    def note_refusal(self, file: Version) -> None:
        """Notes that a call with something of this file, and of no other, was refused for good."""
        self._refusals.note_refusal(file)

    def judge_refusal(self, file: Version, collector: str, error: CloudError) -> bool:
        """Notes that what is to be given up of a file was refused for good. Returns whether that is believed.

        If everything is refused, everything waits, and one call at a time is tried until one is accepted.
        """
        if self._refusals.judge(file, collector):
            return True
        if self._refusals.are_all:
            self._set(LinkState.ALL_REFUSED, f"{error}; nothing is accepted, so nothing goes to quarantine")
        return False

    def judge_failure(self, unit: str, error: CloudError) -> Verdict:
        """Notes that a call for `unit` failed.

        Returns `Verdict.LINK` if the link is to blame, else `Verdict.RETRY`.
        """
        meaning = verdict(error)
        if meaning is Verdict.LINK:
            self._set(LinkState.DOWN, str(error))
        elif meaning is Verdict.LOGIN:
            self._set(LinkState.LOGIN_REFUSED, str(error))
        elif meaning is Verdict.UNWELL:
            if self._last_unwell_unit not in (None, unit) or self.state in _UNWELL:
                self._set(LinkState.UNWELL, str(error))
                meaning = Verdict.LINK
            else:
                meaning = Verdict.RETRY
            self._last_unwell_unit = unit
        elif meaning in (Verdict.QUARANTINE, Verdict.TOO_LARGE):
            meaning = Verdict.LINK if self.state is LinkState.ALL_REFUSED else Verdict.RETRY
        return Verdict.LINK if meaning is Verdict.LOGIN else meaning

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
                logger.info("connected to the cloud %s", self._cloud.way)
        else:
            level = logging.ERROR if state in (LinkState.LOGIN_REFUSED, LinkState.ALL_REFUSED) else logging.WARNING
            logger.log(level, "%s: %s; nothing is sent until this is over", state.value, why)

    async def _watch_connection(self) -> None:
        """Looks, when a side ends the connection, whether the cloud can still be reached."""
        while True:
            await self._cloud.until_lost()
            await self._probe()

    async def _watch_calls(self) -> None:
        """Looks whether the cloud can still be reached, when calls get stuck, or there was none for a while."""
        looked_s = self._clock.monotonic()
        while True:
            await self._clock.sleep(_LOOK_S)
            now_s = self._clock.monotonic()
            is_idle = not self._cloud.is_busy and now_s - max(looked_s, self._succeeded_s) >= _IDLE_LOOK_S
            if self._cloud.is_stuck() or is_idle:
                looked_s = now_s
                await self._probe()

    async def _probe(self) -> None:
        """Takes the link down if the cloud can't be reached."""
        try:
            await self._cloud.probe()
        except CloudError as error:
            self._set(LinkState.DOWN, str(error))

    async def _pause(self, seconds: float) -> None:
        """Waits so many seconds, or until a caller of `ensure_usable` is in a hurry."""
        self._hurry.clear()
        await first_done(self._clock.sleep(seconds), self._hurry.wait())

    async def _without_credentials(self) -> None:
        """Logs what is missing, every minute. Never returns: only a new process can have other credentials."""
        while True:
            self._set(LinkState.NO_CREDENTIALS, self._settings.missing)
            await self._clock.sleep(_SAY_AGAIN_S)
