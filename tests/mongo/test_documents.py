"""A reading as a document: what the builtin writes, field by field, type by type."""

from __future__ import annotations

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st
from viam.proto.app.datasync import SensorData

from bench.hostile.components import nested
from holdfast.mongo import records
from holdfast.mongo.documents import NoDocumentError, document, object_id
from holdfast.mongo.records import SpooledReading
from holdfast.storage.capture_files.frames import readings_payload, tabular_message
from tests.storage.samples import READINGS, message

ORIGIN = ("rdk:component:sensor", "lidar", "Readings")
LIFE = bytes(range(5))
SECOND_NS = 1_000_000_000


def spooled(message: bytes, number: int = 7, time_ns: int = 1_700_000_000 * SECOND_NS) -> SpooledReading:
    return SpooledReading(ORIGIN, LIFE, number, time_ns, message)


def decoded(reading: SpooledReading) -> dict[str, object]:
    return bson.decode(document(reading))


def test_a_document_has_the_builtins_fields_in_its_order_and_types() -> None:
    payload = SensorData.FromString(message(0, {"t": 1, "ok": True, "name": "ä", "no": None})).struct
    whole = document(spooled(tabular_message(1_234_567_890_123_999_999, 5, payload.SerializeToString())))
    found = bson.decode(whole)
    assert list(found) == [
        *("_id", "time_requested", "time_received", "component_name", "component_type", "method_name", "data")
    ]
    raw = RawBSONDocument(whole)
    assert raw["data"]["readings"]["t"] == 1.0
    assert isinstance(raw["data"]["readings"]["t"], float)
    assert found["data"] == {"readings": {"t": 1.0, "ok": True, "name": "ä", "no": None}}
    assert found["time_requested"].isoformat() == "2009-02-13T23:31:30.123000"
    assert found["time_received"].isoformat() == "1970-01-01T00:00:00"
    assert [found[name] for name in list(found)[3:6]] == ["lidar", "rdk:component:sensor", "Readings"]


def test_an_empty_list_is_null_as_the_builtin_writes_it() -> None:
    found = decoded(spooled(message(0, {"none": [], "some": [1, []], "object": {}})))
    assert found["data"] == {"readings": {"none": None, "some": [1.0, None], "object": {}}}


@given(READINGS)
def test_every_reading_is_a_document_or_says_why_not(values: dict[str, object]) -> None:
    try:
        found = decoded(spooled(message(0, values)))
    except NoDocumentError as error:
        assert error.reason == "not_bson"
        assert "\0" in repr(values) or "\\x00" in repr(values)
        return
    assert set(found["data"]) == {"readings"}  # type: ignore[call-overload]


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 33))
def test_the_id_of_a_reading_is_always_the_same_and_nobody_elses(number: int, seconds: int) -> None:
    reading = spooled(b"", number, seconds * SECOND_NS)
    assert object_id(reading) == object_id(reading)
    assert object_id(reading) != object_id(spooled(b"", number + 1, seconds * SECOND_NS))


def test_ids_are_in_the_order_of_the_readings() -> None:
    ids = [object_id(spooled(b"", number, (100 + number // 10) * SECOND_NS)) for number in range(100)]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\xff\xff", "unreadable"),
        (message(0, {"a\0b": 1.0}), "not_bson"),
        (message(0, {"a": "x" * (17 * 1024 * 1024)}), "too_large"),
    ],
    ids=["no protobuf", "a zero byte in a name", "large"],
)
def test_what_can_not_be_a_document_says_why(message: bytes, reason: str) -> None:
    with pytest.raises(NoDocumentError) as caught:
        document(spooled(message))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "values",
    [{"a": [1.0] * 60_000}, {str(number): True for number in range(40_000)}, {"a": [[]] * 60_000}],
    ids=["numbers", "names", "lists"],
)
def test_a_reading_of_more_values_than_are_decoded_at_once_is_counted_and_left_out(
    values: dict[str, object],
) -> None:
    with pytest.raises(NoDocumentError, match="more than 100000 fields") as caught:
        document(spooled(message(0, values)))
    assert caught.value.reason == "too_many_values"


def test_unknown_fields_count_too() -> None:
    whole = message(0, {"a": 1.0}) + b"\xf8\x06\x01" * 100_000
    with pytest.raises(NoDocumentError) as caught:
        document(spooled(whole))
    assert caught.value.reason == "too_many_values"


def test_a_reading_of_as_many_values_as_are_decoded_is_a_document_and_so_is_a_long_text() -> None:
    numbers = decoded(spooled(message(0, {"a": [1.0] * 49_990})))
    assert numbers["data"] == {"readings": {"a": [1.0] * 49_990}}
    text = decoded(spooled(message(0, {"a": "x" * 5_000_000})))
    assert text["data"] == {"readings": {"a": "x" * 5_000_000}}


def test_a_large_reading_that_is_no_message_says_so() -> None:
    with pytest.raises(NoDocumentError) as caught:
        document(spooled(b"\xff" * 100_000))
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("depth", [40, 1000, 10_000])
def test_a_reading_that_is_nested_too_deeply_is_counted_and_left_out(depth: int) -> None:
    whole = tabular_message(0, 0, readings_payload(nested(depth)))
    with pytest.raises(NoDocumentError, match="nested too deeply") as caught:
        document(spooled(whole))
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("time_ns", [-1, -286_825_166_691_717_702, (1 << 63) - 1])
def test_a_reading_of_any_time_comes_through_the_spool_and_becomes_a_document(time_ns: int) -> None:
    life = bytes(records.LIFE_BYTES)
    data = records.encode_origin(0, ORIGIN, life) + records.encode_reading(0, 1, time_ns, message(1, {}), life)
    ((reading,), _) = records.RecordReader(life).read(data, 9)
    assert reading.time_ns == time_ns
    assert document(reading)
