"""Sequences on the disk, in the builtin's format, whatever a crash leaves."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from viam.proto.app.data import CreateSequenceRequest

from holdfast.base.at import Identity
from holdfast.base.filesystem import FileSystem
from holdfast.errors import DamagedFileError, StorageError
from holdfast.storage.sequence_files import MAX_FILE_BYTES, Sequence, SequenceFiles, read, rfc3339
from holdfast.sync.delivery.sequence_delivery import request_of
from tests.fakes import FaultyFileSystem

START = 1_700_000_000_123_456_789
SEQUENCE = Sequence((("lidar", "Readings"),), ("t",), START, START + 5)


def sequences(folder: Path) -> SequenceFiles:
    return SequenceFiles(FileSystem(), str(folder))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_is_the_builtins_json(tmp_path: Path) -> None:
    sequences(tmp_path).write_ended("x", SEQUENCE)
    assert json.loads((tmp_path / "sequences/x.seq").read_text()) == {
        "start_time": "2023-11-14T22:13:20.123456789Z",
        "end_time": "2023-11-14T22:13:20.123456794Z",
        "resources": [{"resource_name": "lidar", "method_name": "Readings"}],
        "sequence_tags": ["t"],
    }
    assert (tmp_path / "sequences/x.seq").stat().st_mode & 0o777 == 0o600
    assert read(FileSystem(), str(tmp_path / "sequences/x.seq")) == SEQUENCE


def test_a_file_of_the_builtin_is_read_in_any_time_zone(tmp_path: Path) -> None:
    path = tmp_path / "x.seq"
    path.write_text(
        '{"start_time": "2023-11-15T00:13:20.5+02:00", "end_time": "0001-01-01T00:00:00Z",'
        ' "resources": [{"resource_name": "a", "method_name": "b"}]}'
    )
    assert read(FileSystem(), str(path)) == Sequence((("a", "b"),), (), 1_700_000_000_500_000_000, 0)


@pytest.mark.parametrize("time_ns", [0, 1, START, 1_700_000_000_000_000_000, 1_700_000_000_100_000_000])
def test_a_time_is_what_it_was(tmp_path: Path, time_ns: int) -> None:
    sequences(tmp_path).write_open("x", Sequence((("a", "b"),), (), time_ns))
    assert read(FileSystem(), str(tmp_path / "sequences/x.progseq")).start_ns == time_ns
    assert rfc3339(0) == "0001-01-01T00:00:00Z"


def test_the_end_leaves_no_open_file(tmp_path: Path) -> None:
    files = sequences(tmp_path)
    files.write_open("x", SEQUENCE)
    assert names(tmp_path) == ["sequences/x.progseq"]
    files.write_ended("x", SEQUENCE)
    assert names(tmp_path) == ["sequences/x.seq"]


def test_a_sequence_that_a_crash_left_ends_when_it_was_last_alive(tmp_path: Path) -> None:
    sequences(tmp_path).write_open("x", SEQUENCE)
    (tmp_path / "sequences/x.seq.tmp").write_text("half a wri")
    assert sequences(tmp_path).finish_left(lambda identity: False) == 1
    assert names(tmp_path) == ["sequences/x.seq"]
    assert read(FileSystem(), str(tmp_path / "sequences/x.seq")) == SEQUENCE


def test_a_sequence_of_the_builtin_that_never_ended_is_kept_in_quarantine(tmp_path: Path) -> None:
    sequences(tmp_path).write_open("x", Sequence((("a", "b"),), (), START))
    assert sequences(tmp_path).finish_left(lambda identity: False) == 0
    assert names(tmp_path) == ["failed/sequences/x.progseq", "failed/sequences/x.progseq.cause.json"]


def test_an_open_file_beside_its_ended_one_goes(tmp_path: Path) -> None:
    sequences(tmp_path).write_ended("x", SEQUENCE)
    sequences(tmp_path).write_open("x", SEQUENCE)
    sequences(tmp_path).finish_left(lambda identity: False)
    assert names(tmp_path) == ["sequences/x.seq"]


def test_what_this_process_writes_and_what_is_no_sequence_is_left_alone(tmp_path: Path) -> None:
    sequences(tmp_path).write_open("mine", SEQUENCE)
    (tmp_path / "sequences/mine.seq.tmp").write_text("{")
    (tmp_path / "sequences/notes.txt").write_text("x")
    before = names(tmp_path)
    sequences(tmp_path).finish_left(lambda identity: identity == "mine")
    assert names(tmp_path) == before


def test_one_that_can_not_be_finished_stops_no_other(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        sequences(tmp_path).write_open(name, SEQUENCE)
    (tmp_path / "sequences/b.progseq").write_text("{")
    files = FaultyFileSystem()
    with files.failing("rename", code=errno.EIO, on=lambda path: "a.seq" in path):
        assert SequenceFiles(files, str(tmp_path)).finish_left(lambda identity: False) == 1
    assert {"sequences/a.progseq", "sequences/c.seq", "failed/sequences/b.progseq"} <= set(names(tmp_path))


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    files = FaultyFileSystem()
    found = SequenceFiles(files, str(tmp_path))
    found.write_open("x", SEQUENCE)
    with files.failing("write", code=errno.ENOSPC, partial_bytes=3), pytest.raises(StorageError):
        found.write_open("x", Sequence((), (), START, START + 9))
    assert read(files, str(tmp_path / "sequences/x.progseq")) == SEQUENCE
    found.write_open("x", Sequence((), (), START, START + 9))
    assert names(tmp_path) == ["sequences/x.progseq"]


def test_an_end_is_there_until_it_is_taken_back(tmp_path: Path) -> None:
    files = sequences(tmp_path)
    assert not files.has_ended("x")
    files.write_ended("x", SEQUENCE)
    assert files.has_ended("x")
    files.write_open("x", SEQUENCE)
    files.forget_end("x")
    assert not files.has_ended("x") and names(tmp_path) == ["sequences/x.progseq"]
    files.forget("x")
    files.forget("x")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "5",
        '{"resources": 5}',
        '{"start_time": 5}',
        '{"resources": [{"resource_name": 5}]}',
        "[" * 9999,
        '{"resources": {"a": 1}}',
        '{"resources": "ab"}',
        '{"resources": [null]}',
        '{"sequence_tags": "abc"}',
        '{"sequence_tags": [["t"]]}',
        '{"sequence_tags": ["\\ud800"]}',
        '{"resources": [{"resource_name": "\\udfff"}]}',
        '{"start_time": "2023-11-14T22:13:20.-5Z"}',
        '{"start_time": "2023-11-14T22:13:20.\u0663Z"}',
        '{"start_time": "2023-11-14"}',
        '{"start_time": "2023-11-14T22:13:20"}',
        '{"end_time": "9999-12-31T23:59:59-01:00"}',
        '{"end_time": "0001-01-01T00:00:00+01:00"}',
        '{"end_time": "2023-13-14T22:13:20Z"}',
        '{"start_time": 1e999}',
        '{"start_time": ' + "9" * 9999 + "}",
    ],
)
def test_what_is_no_sequence_is_damaged(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.seq"
    path.write_text(content)
    with pytest.raises(DamagedFileError):
        read(FileSystem(), str(path))
    path.write_text(" " * (MAX_FILE_BYTES + 1))
    with pytest.raises(DamagedFileError, match="too large"):
        read(FileSystem(), str(path))


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59.9Z", "9999-12-31T23:59:59-01:00", "9998-01-01T00:00:00Z"])
def test_an_end_beyond_all_calendars_stops_no_other_sequence(tmp_path: Path, end: str) -> None:
    """The builtin, or another user, wrote it."""
    (tmp_path / "sequences").mkdir()
    document = {"start_time": "2023-11-14T22:13:20Z", "end_time": end, "resources": []}
    for name in ("a", "c"):
        (tmp_path / "sequences" / f"{name}.progseq").write_text(json.dumps(document))
    sequences(tmp_path).write_open("b", SEQUENCE)
    assert sequences(tmp_path).finish_left(lambda identity: False) >= 1
    assert sequences(tmp_path).has_ended("b")
    assert not list((tmp_path / "sequences").glob("*.progseq"))


def test_the_cause_of_what_is_no_sequence_is_short(tmp_path: Path) -> None:
    path = tmp_path / "x.seq"
    path.write_text(json.dumps({"sequence_tags": [{"a": "x" * 900_000}], "start_time": "y" * 1000}))
    with pytest.raises(DamagedFileError) as raised:
        read(FileSystem(), str(path))
    assert len(str(raised.value)) < 1_000


ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TIMES = st.from_regex(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,12})?(Z|[+-][0-2][0-9]:[0-5][0-9])",
    fullmatch=True,
)
RESOURCE = st.fixed_dictionaries({}, optional={"resource_name": ANY_JSON, "method_name": ANY_JSON})
SEQUENCES = ANY_JSON | st.fixed_dictionaries(
    {},
    optional={
        "start_time": TIMES | ANY_JSON,
        "end_time": TIMES | ANY_JSON,
        "resources": st.lists(RESOURCE | ANY_JSON, max_size=3) | ANY_JSON,
        "sequence_tags": st.lists(st.text(max_size=3), max_size=3) | ANY_JSON,
    },
)


@given(document=SEQUENCES)
def test_whatever_a_file_says_it_is_a_sequence_that_can_be_sent_or_damaged(
    tmp_path_factory: pytest.TempPathFactory, document: Any
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = folder / "x.seq"
    path.write_text(json.dumps(document))
    try:
        sequence = read(FileSystem(), str(path))
    except DamagedFileError:
        return
    CreateSequenceRequest.FromString(request_of(sequence, "part"))
    sequences(folder).write_ended("y", sequence)
    assert read(FileSystem(), str(folder / "sequences" / "y.seq")) == sequence


def test_a_file_that_grows_while_it_is_looked_at_is_not_read_into_memory(tmp_path: Path) -> None:
    class Growing(FileSystem):
        def stat(self, path: str) -> os.stat_result:
            status = super().stat(path)
            os.truncate(path, 1 << 42)
            return status

        def open(self, path: str, identity: Identity | None = None) -> int:
            os.truncate(path, 1 << 42)
            return super().open(path, identity)

    (tmp_path / "a.seq").write_text("{}")
    with pytest.raises(DamagedFileError, match="too large"):
        read(Growing(), str(tmp_path / "a.seq"))
