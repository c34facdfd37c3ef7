from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from holdfast.sync.delivery.progress import QUIET_S, Progress
from tests.fakes import FakeClock

MIB = 1 << 20


def chunks(count: int) -> Iterator[bytes]:
    """A hundred of these are 10 MiB, and a little more."""
    yield from [bytes(MIB // 10 + 1)] * count


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_a_quick_upload_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    progress = Progress(clock, "/a.bin", 10 * MIB)
    assert len(list(progress.counted(lambda: chunks(100))())) == 100
    progress.note_accepted()
    await clock.advance(QUIET_S - 1)
    progress.note_end()
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("chunk_s", "shares"),
    [
        (0.1, []),
        (1.0, [31, 62, 93]),
        (10.0, [11, 22, 33, 44, 55, 66, 77, 88, 99]),
    ],
    ids=["quick", "each 30 s", "each tenth"],
)
async def test_a_long_upload_tells_each_tenth_or_each_half_minute_whichever_is_rarer(
    caplog: pytest.LogCaptureFixture, chunk_s: float, shares: list[int]
) -> None:
    clock = FakeClock()
    progress = Progress(clock, "/a.bin", 10 * MIB)
    for _ in progress.counted(lambda: chunks(100))():
        await clock.advance(chunk_s)
    told = [int(message.split(": ")[1].split(" %")[0]) for message in caplog.messages]
    assert len(told) == len(shares)
    assert all(abs(a - b) <= 2 * (i + 1) for i, (a, b) in enumerate(zip(told, shares, strict=True)))


async def test_its_end_is_told_with_the_rate(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    progress = Progress(clock, "/a.bin", 10 * MIB)
    await clock.advance(50)
    progress.note_accepted(10 * MIB)
    progress.note_end()
    assert caplog.messages[-1] == "sent /a.bin: 10.0 MiB in 50 s, 205 KiB/s"


async def test_what_is_left_to_go_follows_the_rate(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    progress = Progress(clock, "/a.bin", 10 * MIB)
    await clock.advance(40)
    progress.note_accepted(4 * MIB)
    assert caplog.messages == ["sending /a.bin: 40 % of 10.0 MiB, 102 KiB/s, 60 s to go"]


async def test_a_stream_that_begins_anew_counts_anew(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    progress = Progress(clock, "/a.bin", 10 * MIB)
    list(progress.counted(lambda: chunks(50))())
    await clock.advance(40)
    list(progress.counted(lambda: chunks(20))())
    assert [message.split(",")[0] for message in caplog.messages] == ["sending /a.bin: 10 % of 10.0 MiB"]


async def test_of_a_small_file_nothing_is_said_however_long_it_waits(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    progress = Progress(clock, "/a.capture", 3174)
    await clock.advance(600)
    progress.note_accepted(3000)
    progress.note_end()
    assert caplog.messages == []


async def test_an_upload_begins_with_its_first_call(caplog: pytest.LogCaptureFixture) -> None:
    """Until then it waits, for the link for example, and that is no time in which it was sent."""
    clock = FakeClock()
    progress = Progress(clock, "/a.bin", 10 * MIB)
    await clock.advance(600)
    progress.note_begun()
    progress.note_accepted(10 * MIB)
    progress.note_end()
    assert caplog.messages == []
