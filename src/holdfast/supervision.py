"""Tasks that run for as long as the program does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

_RESTART_S = 5.0

logger = logging.getLogger(__name__)


async def supervised(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Runs a part until it returns. An error that nobody foresaw must not end the part for good: it begins anew."""
    while True:
        try:
            return await run()
        except Exception:  # the last resort: everything foreseen is a HoldfastError and handled
            logger.exception("%s failed unexpectedly; it begins anew in %g s", name, _RESTART_S)
        await asyncio.sleep(_RESTART_S)
