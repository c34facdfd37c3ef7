"""Work on threads that is not abandoned, and leaves nothing behind."""

from __future__ import annotations

import gc
import weakref

import pytest

from holdfast.base.tasks import in_thread
from tests.waiting import eventually


class Content:
    """Something that the function has in memory when it raises."""


async def test_what_an_error_on_a_thread_held_is_gone_without_a_garbage_collection() -> None:
    """A collection holds up the whole process for the longer the more there is to look through."""
    held: list[weakref.ref[Content]] = []

    def fail() -> None:
        content = Content()
        held.append(weakref.ref(content))
        raise ValueError

    gc.disable()
    try:
        with pytest.raises(ValueError):
            await in_thread(fail)
        await eventually(lambda: held[0]() is None)
    finally:
        gc.enable()
