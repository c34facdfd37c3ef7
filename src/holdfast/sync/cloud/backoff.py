"""How long to wait before something is tried again.

The strategies are tenacity's, but only their waiting times are used: tenacity neither sleeps nor calls here.
"""

from __future__ import annotations

import tenacity
from tenacity import wait_chain, wait_exponential, wait_random
from tenacity.wait import wait_base

LINK_PROBES_BEFORE_BACKOFF = 200
"""So many probes follow each other after 1–2 s, for about five minutes."""
UNWELL_PROBES_BEFORE_BACKOFF = 40
"""So many calls follow each other after 1–2 s, for about one minute."""


class Backoff:
    """The waiting times of one thing that is tried repeatedly. The caller calls `reset` when it succeeds."""

    def __init__(self, strategy: wait_base, tries: int = 0) -> None:
        """`tries` is how often it was tried already."""
        self._retrying = tenacity.AsyncRetrying(wait=strategy)
        self.reset()
        self._state.attempt_number = tries

    def reset(self) -> None:
        """Begins again with the shortest wait."""
        self._state = tenacity.RetryCallState(self._retrying, None, (), {})
        self._state.attempt_number = 0

    def next_s(self) -> float:
        """Counts one more try, and returns how many seconds to wait before it."""
        self._state.attempt_number += 1
        return float(self._retrying.wait(self._state))


def unit_backoff(tries: int = 0) -> Backoff:
    """Returns the waits of a call and its files: 200 ms, doubled each time up to an hour, then hourly; ± 10 %."""
    return Backoff(_Jittered(wait_exponential(multiplier=0.2, exp_base=2, max=3600)), tries)


def link_backoff() -> Backoff:
    """Returns the waits of a lost connection: 1–2 s for five minutes, then doubled up to a minute."""
    return _probing(LINK_PROBES_BEFORE_BACKOFF)


def unwell_backoff() -> Backoff:
    """Returns the waits of a cloud that is unavailable: 1–2 s for a minute, then doubled up to a minute."""
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
