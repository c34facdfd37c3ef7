from __future__ import annotations

import pytest

from holdfast.sync.delivery.pace import WINDOW_S, Pace
from tests.fakes import FakeClock


async def test_the_pace_leaves_out_the_time_in_which_no_call_was_under_way() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    with pace.upload("/a", 1000) as progress:
        for _ in range(3):
            with pace.call(progress):
                await clock.advance(2)
                progress.note_accepted(100)
            await clock.advance(10)
        assert pace.sent_bytes == 300
    assert pace.bytes_per_s == pytest.approx(50)
    assert pace.sent_bytes == 0


async def test_a_call_that_takes_longer_than_the_window_counts_whole() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    with pace.upload("/a", 3000) as progress, pace.call(progress):
        await clock.advance(3 * WINDOW_S)
        progress.note_accepted(3000)
    assert pace.bytes_per_s == pytest.approx(3000 / (3 * WINDOW_S))


async def test_calls_beside_each_other_add_up() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    with pace.upload("/a", 1000) as one, pace.upload("/b", 1000) as other:
        with pace.call(one), pace.call(other):
            await clock.advance(10)
            one.note_accepted(1000)
            other.note_accepted(1000)
        assert pace.sent_bytes == 2000
    assert pace.bytes_per_s == pytest.approx(200)


async def test_a_stream_moves_while_it_lasts_and_what_a_failed_one_sent_did_not_arrive() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    with pace.upload("/a", 1000) as progress:
        with pytest.raises(ConnectionError), pace.call(progress):
            messages = progress.counted(lambda: iter([bytes(100)] * 10))()
            for _ in range(5):
                await clock.advance(1)
                next(messages)
            await clock.advance(1)
            assert pace.bytes_per_s > 0 and pace.sent_bytes == 400
            raise ConnectionError
        assert (pace.bytes_per_s, pace.sent_bytes) == (0, 0)


async def test_a_minute_after_the_last_byte_there_is_no_pace() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    with pace.upload("/a", 1000) as progress, pace.call(progress):
        await clock.advance(1)
        progress.note_accepted(1000)
    assert pace.bytes_per_s > 0
    await clock.advance(WINDOW_S + 1)
    assert pace.bytes_per_s == 0
    assert Pace(clock).bytes_per_s == 0, "nothing was sent yet"
