"""The builtin data manager and ours write the same for the same answers, and deliver the same of the same files.

A row of the table is a test. The two viam-servers run once for all of them.
"""

from __future__ import annotations

import asyncio
import difflib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.capture.methods import TABLES

from .delivery import both_deliver, readings_in, some_of
from .pair import Pair, capture
from .records import without
from .rows import Compared, Row
from .table import NOT_COMPARED, TABLE

UPLOADED_FILES = 3
"""Of each folder."""
BOTH = ("the builtin", "ours")
WRITES = {
    Compared.EXACT: BOTH,
    Compared.NOISE: BOTH,
    Compared.SHAPE: BOTH,
    Compared.OTHERWISE: BOTH,
    Compared.BUILTIN: ("the builtin",),
    Compared.OURS: ("ours",),
    Compared.NOTHING: (),
}


@pytest.fixture(scope="module")
def pair(viam_server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """What both captured of the whole table."""
    return asyncio.run(capture(viam_server_binary, tmp_path_factory.mktemp("parity"), TABLE))


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_both_write_the_same(row: Row, pair: Pair) -> None:
    """The same where the row's column says so; else what it says, until a change of either side ends that."""
    builtin, ours = (side.readings(row.folder, row.params, row.compared) for side in (pair.builtin, pair.ours))
    writes = {"the builtin": builtin, "ours": ours}
    for name, side in (("the builtin", pair.builtin), ("ours", pair.ours)):
        if writes[name] and name not in WRITES[row.compared]:
            pytest.fail(f"{name} captures it:\n{min(writes[name])}", pytrace=False)
        if not writes[name] and name in WRITES[row.compared]:
            pytest.fail(f"{name} captures nothing; its log:\n{side.log_of(row.name)}", pytrace=False)
    if row.compared is Compared.OTHERWISE:
        assert builtin != ours, f"not any more: {row.why}"
        assert without(builtin, row.but) == without(ours, row.but)
    elif len(WRITES[row.compared]) == len(writes) and builtin != ours:
        pytest.fail(difference(list(builtin), list(ours)), pytrace=False)


def test_nothing_is_written_beside_the_table(pair: Pair) -> None:
    for name, side in (("the builtin", pair.builtin), ("ours", pair.ours)):
        assert set(side.parts) - {row.folder for row in TABLE if name in WRITES[row.compared]} == set(), name


def test_every_method_that_we_capture_has_a_row_in_which_both_capture_it() -> None:
    ours = {(api, method) for api, methods in TABLES.items() for method in methods}
    compared = {(row.resource.api, row.method) for row in TABLE if WRITES[row.compared] == BOTH}
    assert sorted(ours - compared) == sorted(NOT_COMPARED)


def test_where_the_two_differ_the_table_says_why() -> None:
    assert [str(row) for row in TABLE if row.compared is not Compared.EXACT and not row.why] == []


@pytest.mark.parametrize("writer", BOTH)
def test_both_deliver_the_same_of_the_same_files(
    writer: str, pair: Pair, viam_server_binary: Path, tmp_path: Path
) -> None:
    """Each reads the other's files, and tells the cloud the same of them: metadata, readings, times."""
    captured = pair.builtin if writer == BOTH[0] else pair.ours
    files = some_of(captured.folder, UPLOADED_FILES)
    count = readings_in(files)
    builtin, ours = asyncio.run(both_deliver(viam_server_binary, tmp_path, files, count, count))
    assert sorted(builtin) == sorted(ours) == sorted({place.parent.as_posix() for place in files})
    different = {where for where in builtin if builtin[where] != ours[where]}
    for where in sorted(different):
        pytest.fail(f"{where}\n{difference(builtin[where], ours[where])}", pytrace=False)


def test_each_row_has_an_id_of_its_own() -> None:
    assert [row for row, count in Counter(map(str, TABLE)).items() if count > 1] == []


def difference(builtin: Sequence[str], ours: Sequence[str]) -> str:
    """What each has that the other has not, by lines."""
    counts = Counter(builtin), Counter(ours)
    alone = (counts[0] - counts[1], counts[1] - counts[0])
    theirs, own = ("\n".join(sorted(each.elements())).splitlines() for each in alone)
    return "\n".join(difflib.unified_diff(theirs, own, "builtin", "ours", lineterm="", n=2))
