"""When to try again. The strategies are tenacity's; whoever waits evaluates them here, without sleeping."""

from __future__ import annotations

import tenacity
from tenacity import wait_chain, wait_exponential, wait_random
from tenacity.wait import wait_base

LINK_PROBES_BEFORE_BACKOFF = 200
"""Probes 1–2 s apart: about five minutes."""
UNWELL_PROBES_BEFORE_BACKOFF = 40
"""Calls 1–2 s apart: about one minute."""


class Backoff:
    """The waits of one thing that is tried again and again; `reset` when it works."""

    def __init__(self, strategy: wait_base, tries: int = 0) -> None:
        """`tries` is how often it was tried before."""
        self._retrying = tenacity.AsyncRetrying(wait=strategy)
        self.reset()
        self._state.attempt_number = tries

    def reset(self) -> None:
        self._state = tenacity.RetryCallState(self._retrying, None, (), {})
        self._state.attempt_number = 0

    def next_s(self) -> float:
        """Seconds to wait before the next try."""
        self._state.attempt_number += 1
        return float(self._retrying.wait(self._state))


def unit_backoff(tries: int = 0) -> Backoff:
    """200 ms, doubled each time up to an hour, then hourly for ever; ± 10 %."""
    return Backoff(_Jittered(wait_exponential(multiplier=0.2, exp_base=2, max=3600)), tries)


def link_backoff() -> Backoff:
    """Every 1–2 s for five minutes, then doubled up to a minute."""
    return _probing(LINK_PROBES_BEFORE_BACKOFF)


def unwell_backoff() -> Backoff:
    """Every 1–2 s for a minute, then doubled up to a minute."""
    return _probing(UNWELL_PROBES_BEFORE_BACKOFF)


def _probing(first: int) -> Backoff:
    close = [wait_random(1, 2)] * first
    wider = [wait_random(0.9 * wait, 1.1 * wait) for wait in (4, 8, 16, 32)]
    return Backoff(wait_chain(*close, *wider, wait_random(54, 60)))


class _Jittered(wait_base):
    def __init__(self, inner: wait_base) -> None:
        self._inner = inner
        self._factor = wait_random(0.9, 1.1)

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        return self._inner(retry_state) * self._factor(retry_state)
