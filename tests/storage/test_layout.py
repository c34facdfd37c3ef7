"""The layout has RDK's names, so that the builtin finds what we leave and we find what it leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.storage import layout
from holdfast.storage.layout import FileKind

NS = 1_000_000_000


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """Sets the process's time zone to the test's parameter."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "time_ns", "stem"),
    [
        ("UTC", 1_700_000_000 * NS, "2023-11-14T22_13_20.000000Z"),
        ("UTC", 1_700_000_000 * NS + 123_456_789, "2023-11-14T22_13_20.123456Z"),
        ("UTC", 1_700_000_000 * NS + 999_999_999, "2023-11-14T22_13_20.999999Z"),
        ("UTC", 1_700_000_000 * NS + 1_000, "2023-11-14T22_13_20.000001Z"),
        ("Europe/London", 1_700_000_000 * NS, "2023-11-14T22_13_20.000000Z"),
        ("Europe/London", 1_688_000_000 * NS, "2023-06-29T01_53_20.000000+01_00"),
        ("America/New_York", 1_700_000_000 * NS, "2023-11-14T17_13_20.000000-05_00"),
        ("Asia/Kolkata", 1_700_000_000 * NS, "2023-11-15T03_43_20.000000+05_30"),
        ("Europe/Berlin", 1_698_539_400 * NS, "2023-10-29T02_30_00.000000+02_00"),
        ("Europe/Berlin", 1_698_543_000 * NS, "2023-10-29T02_30_00.000000+01_00"),
    ],
    indirect=["zone"],
)
def test_a_capture_file_is_named_as_go_formats_its_time(zone: str, time_ns: int, stem: str) -> None:
    """The name is Go's layout 2006-01-02T15:04:05.000000Z07:00, with ':' replaced."""
    assert layout.capture_file_stem(time_ns) == stem


@given(st.integers(0, 2**32), st.integers(1, 10_000_000))
def test_names_of_one_time_zone_sort_as_their_times(start_s: int, microseconds: int) -> None:
    if time.localtime(start_s).tm_gmtoff != time.localtime(start_s + 10).tm_gmtoff:
        return
    earlier, later = start_s * NS, start_s * NS + microseconds * 1000
    assert layout.capture_file_stem(earlier) < layout.capture_file_stem(later)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/c/api/lidar/Readings/2023.capture", FileKind.CAPTURE),
        ("/c/api/lidar/Readings/2023.prog", FileKind.IN_PROGRESS),
        ("/logs/a.prog", FileKind.IN_PROGRESS),
        ("/logs/a.capture", FileKind.CAPTURE),
        ("/c/sequences/a.seq", FileKind.ENDED_SEQUENCE),
        ("/c/sequences/a.progseq", FileKind.SEQUENCE),
        ("/c/sequences/whatever", FileKind.SEQUENCE),
        ("/c/sequences/a.prog", FileKind.IN_PROGRESS),
        ("/c/sequences/deeper/a.txt", FileKind.ARBITRARY),
        ("/c/.prog", FileKind.IN_PROGRESS),
        ("/c/a.txt", FileKind.ARBITRARY),
        ("/c/capture", FileKind.ARBITRARY),
        ("/c/a.capture.gz", FileKind.ARBITRARY),
        ("/c/a.CAPTURE", FileKind.ARBITRARY),
        ("/c.prog/a", FileKind.ARBITRARY),
    ],
)
def test_a_files_name_says_what_it_is(path: str, kind: FileKind) -> None:
    assert layout.kind_of(path) is kind


def test_a_collectors_folder_has_no_reserved_characters() -> None:
    folder = layout.collector_folder("/capture", "rdk:component:sensor", "rem:lidar/2", "Readings")
    assert folder == "/capture/rdk_component_sensor/rem_lidar_2/Readings"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "/c/rdk_component_sensor/lidar/Readings/a.capture",
            "/c/failed/rdk_component_sensor/lidar/Readings/a.capture",
        ),
        ("/c/a.txt", "/c/failed/a.txt"),
        ("/logs/deep/a.txt", "/logs/deep/failed/a.txt"),
        ("/capture-too/a.txt", "/capture-too/failed/a.txt"),
        ("/c2/a.txt", "/c2/failed/a.txt"),
        ("/c/..hidden/a.txt", "/c/failed/..hidden/a.txt"),
    ],
)
def test_quarantine_keeps_the_path_below_the_capture_folder(path: str, expected: str) -> None:
    assert layout.failed_path(path, "/c") == expected


def test_whatever_is_ours_and_no_data_is_left_alone_by_the_builtin() -> None:
    """The builtin uploads and deletes all that does not end in .prog and is not in failed/."""
    assert layout.state_path("/c", "lock") == "/c/.holdfast/lock.prog"
    assert layout.kind_of(layout.state_path("/c", "ledger")) is FileKind.IN_PROGRESS
    assert layout.cause_path(layout.failed_path("/c/a.txt", "/c")).startswith("/c/failed/a.txt.")


def test_the_walk_goes_into_no_folder_of_ours() -> None:
    assert {".holdfast", "failed", "datasetUpload"} == layout.SKIPPED_FOLDERS


@pytest.mark.parametrize(
    "time_ns", [-1_000, -286_825_166_691_717_000, -9_000_000_000_000_000_000, 9_100_000_000_123_456_000]
)
def test_a_name_has_its_time_also_before_1970_and_far_ahead(time_ns: int) -> None:
    assert layout.capture_file_time_ns(f"/x/{layout.capture_file_stem(time_ns)}.capture") == time_ns
