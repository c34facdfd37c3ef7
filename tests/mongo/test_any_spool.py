"""Whatever stands in the files of the spool, readings that are whole arrive once each, and the sum holds."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from holdfast.base import checked_line
from holdfast.errors import DamagedFileError, NewerStateError
from holdfast.mongo.records import (
    LIFE_BYTES,
    Header,
    RecordReader,
    decode_header,
    encode_header,
    encode_origin,
    encode_reading,
)
from holdfast.mongo.segments import MAX_READINGS, place_of

from .test_spool import Spools, append, assert_sum, message, numbers, take

LIFE = b"\x01" * LIFE_BYTES
ORIGIN = ("rdk:component:sensor", "lidar", "Readings")
FAR = 10**300
SHORT = encode_origin(0, ORIGIN, LIFE)


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[Spools]:
    made = Spools(tmp_path)
    yield made
    made.close()


def record(body: bytes, life: bytes = LIFE) -> bytes:
    """Returns a record with a good check."""
    return struct.pack("<II", len(body), zlib.crc32(body, zlib.crc32(life))) + body


def reading(number: int) -> bytes:
    return encode_reading(0, number, 5, message(number), LIFE)


def leave(folder: Path, content: bytes, *, first: int = 0, place: int = 1) -> Path:
    """Leaves a file as an earlier life would."""
    spool = folder / ".holdfast" / "mongo"
    for made in (spool.parent, spool):
        made.mkdir(mode=0o700, exist_ok=True, parents=True)
    path = spool / f"{place:010d}-{LIFE.hex()}.prog"
    path.write_bytes(encode_header(Header(LIFE, first, 5)) + content)
    path.chmod(0o600)
    return path


def acknowledge(folder: Path, line: bytes) -> None:
    path = folder / ".holdfast" / "mongo" / "acknowledged.prog"
    path.write_bytes(checked_line.encode(line))
    path.chmod(0o600)


WRONG_HEADERS: list[Any] = [
    7, [], "x", {}, {"version": 1}, {"life": 5}, {"life": "zz"}, {"life": "01"}, {"life": "01" * 99}, {"first": -1},
    {"first": FAR}, {"first": "1"}, {"first": 1.5}, {"first": 1 << 64}, {"time_ns": FAR}, {"time_ns": float("inf")},
    {"version": "1"}, {"version": [1], "life": None},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_HEADERS, ids=lambda wrong: str(wrong)[:30])
def test_a_header_that_makes_no_sense_is_damaged(wrong: Any) -> None:
    good = {"version": 1, "life": LIFE.hex(), "first": 0, "time_ns": 0}
    about = {**good, **wrong} if isinstance(wrong, dict) and wrong and wrong != {"version": 1} else wrong
    body = b"H" + json.dumps(about).encode()
    with pytest.raises(DamagedFileError):
        decode_header(struct.pack("<II", len(body), zlib.crc32(body)) + body, "x")


def test_a_header_that_is_nested_without_end_is_damaged() -> None:
    body = b"H" + b"[" * 100_000
    with pytest.raises(DamagedFileError):
        decode_header(struct.pack("<II", len(body), zlib.crc32(body)) + body, "x")


WRONG_RECORDS = [
    record(b"R"), record(b"R" + bytes(5)), record(b"O"), record(b"O{"), record(b"O[]"), record(b"O[1, 2]"),
    record(b"O" + b"[" * 100_000), record(b'O[[1], "a", "b", "c"]'), record(b'O[{}, "a", "b", "c"]'),
    record(b"O[0, 1, 2, 3]"), record(b"O[0, null, null, null]"), record(b'O"abcd"'), record(b"?"),
]  # fmt: skip


@pytest.mark.parametrize("wrong", range(len(WRONG_RECORDS)))
async def test_a_record_that_makes_no_sense_costs_itself(spools: Spools, tmp_path: Path, wrong: int) -> None:
    leave(tmp_path, SHORT + reading(0) + WRONG_RECORDS[wrong] + reading(1))
    spool = spools.open()
    assert numbers(take(spool)) == [0, 1]
    assert_sum(spool)


@pytest.mark.parametrize("number", [0, 7, (1 << 64) - 1, 1 << 62, MAX_READINGS + 5])
async def test_a_reading_with_a_number_that_is_not_its_own_costs_itself(
    spools: Spools, tmp_path: Path, number: int
) -> None:
    """Otherwise the readings up to that number would count as lost."""
    leave(tmp_path, SHORT + reading(0) + reading(number) + reading(1) + reading(2))
    leave(tmp_path, SHORT + reading(3), first=3, place=2)
    spool = spools.open()
    assert spool.counts.found == 4
    assert numbers(take(spool)) == [0, 1, 2, 3] and spool.waiting().readings == 0
    assert_sum(spool)


async def test_a_last_number_that_no_file_can_have_costs_its_reading_alone(spools: Spools, tmp_path: Path) -> None:
    leave(tmp_path, SHORT + reading(0) + reading(MAX_READINGS) + reading(1))
    spool = spools.open()
    assert spool.counts.found == 2 and numbers(take(spool)) == [0, 1]
    assert_sum(spool)


@pytest.mark.parametrize("first", [1 << 62, MAX_READINGS * 2])
async def test_a_file_that_claims_to_follow_after_more_readings_than_there_can_be_is_not_believed(
    spools: Spools, tmp_path: Path, first: int
) -> None:
    leave(tmp_path, SHORT + reading(0) + reading(1))
    leave(tmp_path, SHORT + reading(first), first=first, place=2)
    spool = spools.open()
    assert spool.counts.found == 3
    assert len(take(spool)) == 3
    assert_sum(spool)


ACKNOWLEDGED = [
    (FAR, FAR), (0, FAR), (FAR, 0), (5, 0), (1 << 62, 1 << 62), (-5, 1), (150, 0), (1, MAX_READINGS + 1)
]  # fmt: skip


@pytest.mark.parametrize(("read_bytes", "done_number"), ACKNOWLEDGED)
async def test_what_can_not_be_acknowledged_costs_no_reading(
    spools: Spools, tmp_path: Path, read_bytes: int, done_number: int
) -> None:
    leave(tmp_path, SHORT + b"".join(map(reading, range(5))))
    acknowledge(tmp_path, b"1 %b %d %d" % (LIFE.hex().encode(), read_bytes, done_number))
    spool = spools.open()
    assert numbers(take(spool)) == list(range(5))
    assert_sum(spool)


@pytest.mark.parametrize(
    "line",
    [b"x", b"1 2 3", b"1 a b c", b"1 \xff 0 0", b"1 01 " + b"9" * 9_999 + b" 0", b"\xc2\xb2 a 1 1", b"1.5 a 1 1"],
)
async def test_what_is_no_acknowledgement_costs_no_reading(spools: Spools, tmp_path: Path, line: bytes) -> None:
    leave(tmp_path, SHORT + reading(0))
    acknowledge(tmp_path, line)
    assert numbers(take(spools.open())) == [0]


def test_a_place_has_no_more_digits_than_leave_room_for_the_next_ones() -> None:
    assert place_of(f"{7:010d}-01.prog") == 7
    assert place_of("9" * 200 + "-01.prog") is None and place_of("٣" * 10 + "-01.prog") is None


async def test_a_file_whose_name_is_too_long_keeps_no_reading_out(spools: Spools, tmp_path: Path) -> None:
    leave(tmp_path, b"").rename(tmp_path / ".holdfast" / "mongo" / ("9" * 230 + "-01.prog"))
    spool = spools.open()
    await append(spool, 0, 3)
    assert numbers(take(spool)) == [0, 1, 2]


KINDS = st.sampled_from([b"R", b"O", b"H", b""])
BODIES = st.builds(lambda kind, rest: kind + rest, KINDS, st.binary(min_size=1, max_size=40))


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(BODIES, max_size=8))
async def test_whatever_has_a_good_check_raises_nothing_and_the_sum_holds(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    leave(folder, SHORT + b"".join(map(record, bodies)) + reading(0))
    spools = Spools(folder)
    spool = spools.open()
    take(spool)
    assert_sum(spool)
    assert spool.waiting().readings == 0
    spools.close()


def test_a_newer_version_of_any_size_is_newer() -> None:
    body = b"H" + json.dumps({"version": 10**200}).encode()
    with pytest.raises(NewerStateError):
        decode_header(struct.pack("<II", len(body), zlib.crc32(body)) + body, "x")
    assert RecordReader(LIFE).read(SHORT + reading(0), 9)[0][0].number == 0
