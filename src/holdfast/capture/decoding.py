"""Decodes answers so that none holds up the event loop: a large one on a worker thread, one at a time.

Belongs to the event loop. A call that is cancelled ends when its answer is decoded, so that no second one is
meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ..base.filesystem import Buffer
from ..base.tasks import in_thread
from .methods import BinaryAnswer, BinaryMethod, Target
from .methods.steps import FEW_STEPS, MAX_STEPS, STEPS_OF_A_MESSAGE, Steps, TooManyStepsError

MAX_ON_LOOP_BYTES = 256 * 1024
"""The most that is copied on the event loop."""


class Decoding:
    """The one place on a worker thread that all collectors share."""

    def __init__(self) -> None:
        self._place = asyncio.Semaphore(1)

    async def tabular(self, reading: Callable[[Buffer], bytes], answer: Buffer) -> bytes:
        """Returns what `reading` makes of an answer. Raises what it raises."""
        if len(answer) <= MAX_ON_LOOP_BYTES:
            return reading(answer)
        async with self._place:
            return await in_thread(reading, answer)

    async def binary(self, table: BinaryMethod, target: Target, answers: Sequence[Buffer]) -> BinaryAnswer:
        """Returns the payloads in the answers to `table`. Raises ResourceCallError.

        What takes more than a few steps is begun anew on the thread, since only the attempt shows it.
        """
        try:
            return table.answer(target, answers, Steps(FEW_STEPS))
        except TooManyStepsError:
            async with self._place:
                steps = Steps(MAX_STEPS + STEPS_OF_A_MESSAGE * len(answers))
                return await in_thread(table.answer, target, answers, steps)
