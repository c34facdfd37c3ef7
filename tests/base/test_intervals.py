from __future__ import annotations

import pytest

from holdfast.base.intervals import rest_s


@pytest.mark.parametrize(("cost_s", "share"), [(1.0, 0.05), (3.0, 0.5), (0.2, 0.02)])
def test_work_and_the_rest_behind_it_keep_the_share(cost_s: float, share: float) -> None:
    assert cost_s / (cost_s + rest_s(cost_s, share)) == pytest.approx(share)
