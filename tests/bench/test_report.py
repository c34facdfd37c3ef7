"""The table of a bench and its place in the page: what is met, what is missed, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.report import Row, chart, table, write

AT_MOST = Row("cost", 1.25, " s", 1.25)
AT_LEAST = Row("share <of all>", 98.5, " %", 99.0, False, rounds=(98.0, 99.0), note="of 100")
SHOWN = Row("calls", 12345.6, "")


def test_a_figure_is_met_on_the_right_side_of_its_aim() -> None:
    assert AT_MOST.met is True and AT_LEAST.met is False and SHOWN.met is None
    assert Row("cost", 1.26, " s", 1.25).met is False and Row("share", 99.0, " %", 99.0, False).met is True


def test_the_table_tells_figure_spread_aim_and_verdict() -> None:
    assert table([AT_MOST, AT_LEAST, SHOWN]).splitlines()[2:] == [
        "| cost | 1.25 s | ≤ 1.25 s | met |",
        "| share <of all> | 98.5 % (98–99): of 100 | ≥ 99 % | **missed** |",
        "| calls | 1.235e+04 |  |  |",
    ]


def test_the_figures_take_their_own_place_in_the_page_and_no_other(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(
        "a\n<!-- measured: sync -->\nold\n<!-- end -->\nb\n<!-- measured: capture -->\nold\n<!-- end -->\n"
    )
    write(tmp_path, "sync", [AT_MOST, SHOWN], "2 rounds")
    before, _, rest = page.read_text().partition("<!-- measured: sync -->\n")
    figures, _, after = rest.partition("<!-- end -->\n")
    assert (before, after) == ("a\n", "b\n<!-- measured: capture -->\nold\n<!-- end -->\n")
    assert figures.startswith(table([AT_MOST, SHOWN])) and figures.endswith("; 2 rounds.\n")
    assert (tmp_path / "benchmarks-sync.svg").read_text() == chart([AT_MOST])


def test_figures_without_an_aim_have_no_chart(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text("<!-- measured: proxy -->\n<!-- end -->\n")
    write(tmp_path, "proxy", [SHOWN], "2 rounds")
    assert [path.name for path in tmp_path.iterdir()] == ["benchmarks.md"]


def test_figures_without_a_place_are_not_lost_in_silence(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text("no place\n")
    with pytest.raises(ValueError, match="0 places for the figures of sync"):
        write(tmp_path, "sync", [AT_MOST], "")


def test_the_chart_has_a_bar_for_each_row_whose_length_is_its_share_of_the_aim() -> None:
    drawn = ElementTree.fromstring(
        chart([Row("half", 1.0, "", 2.0), Row("all", 2.0, "", 2.0), Row("more", 9.0, "", 2.0)])
    )
    bars = [float(each.attrib["width"]) for each in drawn if each.tag.endswith("rect")][1:]
    aim = next(float(each.attrib["x1"]) for each in drawn if each.tag.endswith("line"))
    first = next(float(each.attrib["x"]) for each in drawn if each.tag.endswith("rect") and "x" in each.attrib)
    assert bars[1] == pytest.approx(aim - first) and bars[0] == pytest.approx(bars[1] / 2) and bars[2] > bars[1]
