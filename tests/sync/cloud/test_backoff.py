import pytest

from holdfast.sync.cloud.backoff import (
    LINK_PROBES_BEFORE_BACKOFF,
    UNWELL_PROBES_BEFORE_BACKOFF,
    Backoff,
    link_backoff,
    unit_backoff,
    unwell_backoff,
)


def test_a_unit_waits_200_ms_doubled_up_to_an_hour_then_hourly_for_ever() -> None:
    backoff = unit_backoff()
    expected = [min(0.2 * 2**n, 3600.0) for n in range(40)]
    for due in expected:
        assert backoff.next_s() == pytest.approx(due, rel=0.1001)
    assert expected[15] == 3600.0


def test_waits_differ_so_that_units_do_not_come_back_together() -> None:
    assert len({unit_backoff().next_s() for _ in range(20)}) > 10


@pytest.mark.parametrize(
    ("backoff", "close_probes"),
    [(link_backoff(), LINK_PROBES_BEFORE_BACKOFF), (unwell_backoff(), UNWELL_PROBES_BEFORE_BACKOFF)],
    ids=["link", "unwell"],
)
def test_the_link_is_probed_closely_at_first_and_at_least_once_a_minute_for_ever(
    backoff: Backoff, close_probes: int
) -> None:
    waits = [backoff.next_s() for _ in range(close_probes + 20)]
    assert all(1 <= wait <= 2 for wait in waits[:close_probes])
    assert all(waits[n] < waits[n + 1] for n in range(close_probes - 1, close_probes + 3))
    assert all(50 <= wait <= 60 for wait in waits[close_probes + 4 :])


def test_reset_begins_anew() -> None:
    backoff = unit_backoff()
    for _ in range(10):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == pytest.approx(0.2, rel=0.1001)
