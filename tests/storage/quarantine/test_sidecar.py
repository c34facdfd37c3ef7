"""Sidecars: those that another user may have made are not believed, and the others as far as the file agrees."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.base.filesystem import FileSystem
from holdfast.errors import StorageError
from holdfast.storage import layout
from holdfast.storage.capture_files.reader import CaptureReader, places_of
from holdfast.storage.ledger.counts import FileCounts, ReadingCounts
from holdfast.storage.ledger.known_files import Acknowledged
from holdfast.storage.ledger.moves import MoveKind
from holdfast.storage.quarantine.listing import QuarantinedFile, list_page, quarantined_files
from holdfast.storage.quarantine.quarantine import quarantine
from holdfast.storage.quarantine.removal import QuarantineRemoval, RemovalResult
from holdfast.storage.quarantine.sidecar import MAX_CAUSE_CHARS, QuarantinedReadings, read_sidecar
from tests.fakes import FaultyFileSystem
from tests.users import OTHERS, ROOT, THEM, file_of, folder_of, needs_root, open_place

from ..ledgers import LIDAR, RADAR, capture, go, open_ledger
from ..samples import messages, metadata, our_file

FOLDER = "rdk_component_sensor/lidar/Readings"
STRANGER = 54_321
"""The id of another user."""
MANY = 10**12


class Refused:
    """A capture folder with one file of five readings in quarantine, of which the cloud refused the second and the
    fourth. Ten readings of another file of its collector, and ten of another collector, are in quarantine too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = FileSystem()
        self.ledger = open_ledger(root)
        for collector in (LIDAR, RADAR):
            capture(self.ledger, 10, collector=collector)
            go(self.ledger, MoveKind.QUARANTINED, 10, collector=collector)
        capture(self.ledger, 5)
        path = root / FOLDER / "9999-a.capture"
        path.parent.mkdir(parents=True)
        path.write_bytes(our_file(metadata(), messages(5)))
        self.places = places_of(self.files, str(path), [1, 3])
        acknowledged = Acknowledged(5, os.stat(path).st_mtime_ns, (1, 3))
        self.ledger.count_delivered(LIDAR, str(path), acknowledged, 3, ours=True)
        held = QuarantinedReadings(LIDAR, 2, True)
        failed = quarantine(self.files, self.ledger, str(root), str(path), "refused", self.places, held)
        self.path, self.failed, self.cause = path, Path(failed), Path(layout.cause_path(failed))
        self.note: dict[str, Any] = json.loads(self.cause.read_bytes())
        self.content = self.failed.read_bytes()

    def say(self, **changes: Any) -> None:
        """Makes our sidecar say something else."""
        self.cause.write_text(json.dumps({**self.note, **changes}))

    @property
    def found(self) -> list[QuarantinedFile]:
        return list(quarantined_files(self.files, [str(self.root)], []))

    @property
    def row(self) -> dict[str, Any]:
        (row,) = list_page(self.files, self.found, lambda file: True, "", 10).rows
        return row

    def remove(self, what: str) -> RemovalResult:
        removal = QuarantineRemoval(self.files, lambda file: self.ledger)
        (result,) = (removal.put_back if what == "retry" else removal.discard)(self.found)
        return result

    def to_send(self) -> list[bytes]:
        reader = CaptureReader(self.files, str(self.path))
        try:
            return list(reader)
        finally:
            reader.close()

    @property
    def counts(self) -> ReadingCounts:
        return self.ledger.readings()[LIDAR]

    def assert_nothing_is_counted_wrongly(self) -> None:
        assert self.counts.captured == 15 and self.counts.delivered == 3 and self.counts.adopted == 0
        assert min(self.counts.quarantined, self.counts.on_disk, *self.counts.dropped.values(), 0) == 0
        assert self.ledger.readings()[RADAR] == ReadingCounts(captured=10, quarantined=10)
        assert set(self.ledger.readings()) == {LIDAR, RADAR} and self.ledger.files == FileCounts()


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    return Refused(tmp_path)


def _give_away(path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can make a file of another user")
    os.chown(path, STRANGER, STRANGER)


def _make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _make_link(path: Path) -> None:
    """Makes a link to a sidecar that is ours, somewhere else."""
    elsewhere = path.parents[4] / "private"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


FORGERIES: dict[str, Callable[[Path], None]] = {
    "of another user": _give_away,
    "writable by all": lambda path: path.chmod(0o666),
    "writable by a group": lambda path: path.chmod(0o660),
    "a hard link": lambda path: os.link(path, path.parents[4] / "other"),
    "a pipe": _make_pipe,
    "a folder": _make_folder,
    "a link": _make_link,
}


@pytest.mark.parametrize("what", ["retry", "discard"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_sidecar_that_another_user_may_have_made_is_not_believed(
    refused: Refused, forgery: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    held = {"collector": RADAR, "readings": MANY, "ours": False}
    refused.say(held=held, damaged=[[0, 10]], file="/etc/passwd", cause="forged")
    before = refused.counts
    FORGERIES[forgery](refused.cause)
    with caplog.at_level(logging.WARNING):
        row = refused.row
    assert "forged" not in row["cause"] and "cannot read" in row["cause"] and row["readings"] is None
    assert "is not believed" in caplog.text
    result = refused.remove(what)
    assert (result.why, result.readings) == ("", 0)
    assert refused.counts == before and not refused.failed.exists()
    assert (refused.path.read_bytes() if what == "retry" else refused.content) == refused.content


def test_a_file_of_the_builtin_in_quarantine_is_in_no_count(refused: Refused) -> None:
    refused.cause.unlink()
    before = refused.counts
    assert refused.remove("retry").why == "" and refused.counts == before


@pytest.mark.parametrize(("what", "most"), [("retry", 2), ("discard", 10_000)])
def test_no_more_readings_count_than_the_file_holds(refused: Refused, what: str, most: int) -> None:
    places = [[start, end] for start, end in refused.places]
    refused.say(held={**refused.note["held"], "readings": 2 if what == "retry" else MANY}, damaged=places)
    result = refused.remove(what)
    assert result.why == "" and 0 < result.readings <= min(most, len(refused.content))
    refused.assert_nothing_is_counted_wrongly()


def test_no_more_readings_count_than_a_file_holds_that_goes_back_whole(refused: Refused) -> None:
    refused.say(held={**refused.note["held"], "readings": MANY}, damaged=[])
    assert refused.remove("retry").readings == 5
    assert (refused.counts.quarantined, refused.counts.on_disk) == (7, 5)


@pytest.mark.parametrize("what", ["retry", "discard"])
def test_the_readings_of_a_file_count_for_no_other_collector(refused: Refused, what: str) -> None:
    refused.say(held={"collector": RADAR, "readings": 2, "ours": True})
    before = refused.counts
    result = refused.remove(what)
    assert (result.why, result.readings) == ("", 0) and refused.counts == before
    refused.assert_nothing_is_counted_wrongly()


def test_a_sidecar_does_not_say_whether_readings_are_ours(refused: Refused) -> None:
    refused.say(held={**refused.note["held"], "ours": False})
    assert refused.remove("retry").readings == 2
    assert (refused.counts.adopted, refused.counts.on_disk) == (0, 2)


@pytest.mark.parametrize("collector", [LIDAR, RADAR, ("..", "..", ".."), ("", "", "")])
def test_what_is_left_without_a_header_counts_for_the_collector_of_its_folder(
    refused: Refused, collector: tuple[str, str, str]
) -> None:
    refused.failed.write_bytes(b"\xff" + refused.content[1:])
    refused.say(held={"collector": collector, "readings": 2, "ours": True}, damaged=[])
    result = refused.remove("discard")
    assert (result.why, result.readings) == ("", 2 if collector == LIDAR else 0)
    refused.assert_nothing_is_counted_wrongly()


WRONG_PLACES: dict[str, Callable[[list[int], list[int]], list[Any]]] = {
    "overlapping": lambda first, second: [first, [first[0], second[1]]],
    "twice": lambda first, second: [first, first],
    "empty": lambda first, second: [[first[0], first[0]], second],
    "turned": lambda first, second: [[first[1], first[0]], second],
    "in the header": lambda first, second: [[0, first[1]], second],
    "in frames": lambda first, second: [[first[0] + 1, first[1]], second],
    "behind the end": lambda first, second: [first, [MANY, 2 * MANY]],
    "beyond 64 bits": lambda first, second: [first, [second[0], 1 << 64]],
    "beyond all floats": lambda first, second: [first, [second[0], 10**400]],
    "too few": lambda first, second: [first],
    "negative": lambda first, second: [[-5, first[1]], second],
    "fractions": lambda first, second: [[first[0] + 0.5, first[1]], second],
    "texts": lambda first, second: [["1", "2"]],
    "no pairs": lambda first, second: [1, 2],
}


@pytest.mark.parametrize("wrong", WRONG_PLACES)
def test_a_file_stays_whose_sidecar_names_places_that_it_does_not_have(refused: Refused, wrong: str) -> None:
    refused.say(damaged=WRONG_PLACES[wrong](*(list(place) for place in refused.places)))
    before = refused.counts
    result = refused.remove("retry")
    assert result.why and refused.failed.read_bytes() == refused.content and refused.counts == before
    assert not refused.path.exists()
    refused.cause.unlink()
    assert refused.remove("retry").why == "" and refused.path.read_bytes() == refused.content


@pytest.mark.parametrize(
    "file", ["/etc/shadow", "../../../../etc/cron.d/x", "x\0y", "", ".", "..", "9999-b.capture", "9999-a.txt"]
)
def test_a_sidecar_gives_a_file_no_other_name_than_it_had(tmp_path: Path, file: str) -> None:
    """The sidecar says the whole name only of a file whose name was taken or too long."""
    refused = Refused(tmp_path)
    numbered = refused.failed.with_name("9999-a~2.capture")
    refused.failed.rename(numbered)
    refused.say(file=file)
    refused.cause.rename(layout.cause_path(str(numbered)))
    assert refused.row["file"] == str(refused.path.with_name("9999-a~2.capture"))
    assert refused.remove("retry").why == "" and refused.path.with_name("9999-a~2.capture").exists()


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff\xfe", b"", b"9" * 10_000, b'{"file": 1}'])
def test_a_file_whose_sidecar_is_damaged_can_be_discarded(refused: Refused, content: bytes) -> None:
    refused.cause.write_bytes(content)
    before = refused.counts
    assert "can't be understood" in refused.remove("retry").why and refused.failed.exists()
    assert "can't be understood" in refused.row["cause"] and len(refused.row["cause"]) < 1_000
    assert refused.remove("discard").why == "" and not refused.failed.exists()
    assert refused.counts == before


def test_a_long_cause_is_cut(refused: Refused) -> None:
    refused.say(cause="x" * 1_000_000, time="y" * 1_000_000)
    assert len(refused.row["cause"]) == MAX_CAUSE_CHARS and len(refused.row["time"]) < 100


ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-5, 500) | st.floats() | st.text(max_size=9)
    | st.sampled_from([10**400, -(10**400), 1 << 63, "", "..", "9999-a.capture", "\ud800", *LIDAR]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
PLACES = st.lists(st.tuples(st.integers(-5, 700), st.integers(-5, 700)), max_size=3)
HELD = st.fixed_dictionaries(
    {},
    optional={
        "collector": ANY_JSON | st.sampled_from([LIDAR, RADAR]),
        "readings": ANY_JSON | st.integers(0, 20),
        "ours": ANY_JSON | st.booleans(),
    },
)
SIDECARS = ANY_JSON | st.fixed_dictionaries(
    {},
    optional={
        "file": ANY_JSON, "cause": ANY_JSON, "time": ANY_JSON,
        "damaged": ANY_JSON | PLACES, "held": ANY_JSON | HELD, "taken_out": ANY_JSON,
    },
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(note=SIDECARS, merged=st.booleans(), what=st.sampled_from(["retry", "discard"]))
def test_whatever_a_sidecar_says_the_sum_holds_and_no_file_is_harmed(
    tmp_path_factory: pytest.TempPathFactory, note: Any, merged: bool, what: str
) -> None:
    refused = Refused(tmp_path_factory.mktemp("any"))
    if merged and isinstance(note, dict):
        note = {**refused.note, **note}
    refused.cause.write_text(json.dumps(note))
    assert refused.row["path"] == str(refused.failed)
    result = refused.remove(what)
    refused.assert_nothing_is_counted_wrongly()
    counts = refused.counts
    assert counts.quarantined + counts.on_disk + sum(counts.dropped.values()) == 12
    if result.why:
        assert refused.failed.read_bytes() == refused.content and counts.quarantined == 12
    elif what == "retry":
        sent = refused.to_send()
        assert len(sent) == len(set(sent)) and set(sent) <= set(messages(5))
        assert counts.on_disk <= len(sent)


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE])
def test_a_sidecar_that_can_not_be_read_now_is_not_taken_for_another_users(tmp_path: Path, code: int) -> None:
    refused = Refused(tmp_path)
    files = FaultyFileSystem()
    with (
        files.failing("read", "stat", code=code, on=lambda path: path.endswith(layout.CAUSE_EXTENSION)),
        pytest.raises(StorageError),
    ):
        read_sidecar(files, str(refused.failed))


@needs_root
def test_a_file_goes_back_to_a_users_folder_beside_those_of_others() -> None:
    """As `/var/log/app` on Ubuntu, where a group may write `/var/log`."""
    with open_place() as folder:
        log = folder_of(ROOT, folder / "log", 0o775)
        os.chown(log, ROOT, OTHERS)
        app = folder_of(THEM, log / "app")
        failed = file_of(THEM, folder_of(ROOT, app / "failed") / "a.log")
        ledger = open_ledger(folder_of(ROOT, folder / "capture"))
        removal = QuarantineRemoval(FileSystem(), lambda file: ledger)
        (result,) = removal.put_back([QuarantinedFile(str(failed), str(app / "a.log"), str(app))])
        assert result.why == "" and (app / "a.log").exists()
