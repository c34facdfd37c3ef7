"""The settings for MongoDB are used, left out or refused, and never shown."""

from __future__ import annotations

import pytest

from holdfast.config import MongoSettings

from .samples import parsed, refusal


def test_a_mongo_config_has_the_builtins_defaults() -> None:
    found = parsed(mongo_capture_config={"uri": "mongodb://localhost"})
    assert found.mongo_capture_config == MongoSettings("mongodb://localhost", "sensorData", "readings")
    whole = {"uri": "mongodb+srv://a.b.c/x?w=1", "database": "d", "collection": "c"}
    found = parsed(mongo_capture_config=whole)
    assert found.mongo_capture_config == MongoSettings(**whole)
    assert found.problems == ()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "mongo_capture_config.uri: is missing"),
        ({"uri": None}, "mongo_capture_config.uri: is missing"),
        ({"database": "d"}, "mongo_capture_config.uri: is missing"),
        ({"uri": "localhost:27017"}, "mongo_capture_config.uri: must begin with mongodb://"),
        ({"uri": "mongodb://a\0b"}, "mongo_capture_config.uri: must not contain a NUL character"),
        ({"uri": "mongodb://a", "database": "\0"}, "mongo_capture_config.database: must not contain a NUL"),
        ({"uri": "mongodb://a", "collection": "b\0"}, "mongo_capture_config.collection: must not contain a NUL"),
        ({"uri": "mongodb://"}, "mongo_capture_config.uri: names no host"),
        ({"uri": "mongodb://u:p@/x"}, "mongo_capture_config.uri: names no host"),
        ({"uri": "mongodb://a,,b"}, "mongo_capture_config.uri: names no host"),
        ({"uri": "mongodb+srv://a.b.c:27017"}, "mongo_capture_config.uri: must name one host without a port"),
        ({"uri": "mongodb+srv://u:p@a.b.c,d.e.f/?w=1"}, "mongo_capture_config.uri: must name one host"),
        ({"uri": "mongodb://a", "database": "a.b"}, "mongo_capture_config.database: must not contain a space"),
        ({"uri": "mongodb://a", "database": "ä" * 32}, "mongo_capture_config.database: must have at most 63 bytes"),
        ({"uri": "mongodb://a", "collection": "system.x"}, "mongo_capture_config.collection: must not begin"),
        ({"uri": "mongodb://a", "collection": "a..b"}, "mongo_capture_config.collection: must not begin or end"),
    ],
)
def test_a_mongo_config_that_can_not_work_is_a_problem(value: object, words: str) -> None:
    found = parsed(mongo_capture_config=value)
    assert found.mongo_capture_config is None
    (problem,) = found.problems
    assert problem.startswith(words)
    assert problem.endswith("nothing goes to MongoDB, the rest works")


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://a:1,b:2/x?replicaSet=r",
        "mongodb://u:p@[::1]:27017/",
        "mongodb://%2Ftmp%2Fmongodb-27017.sock",
        "mongodb+srv://u:p@a.b.c/x",
        "mongodb+srv://u:p/w@a.b.c/x",
    ],
)
def test_a_connection_string_of_an_allowed_form_is_left_to_the_client(uri: str) -> None:
    assert parsed(mongo_capture_config={"uri": uri}).problems == ()


def test_an_unknown_attribute_of_a_mongo_config_is_a_problem() -> None:
    found = parsed(mongo_capture_config={"uri": "mongodb://a", "colection": "x"})
    assert found.mongo_capture_config == MongoSettings("mongodb://a")
    (problem,) = found.problems
    assert problem.startswith("mongo_capture_config.colection: ")
    assert "'collection'" in problem


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        ("mongodb://u:secret@h", "mongo_capture_config"),
        (["mongodb://u:secret@h"], "mongo_capture_config"),
        ({"uri": ["mongodb://u:secret@h"]}, "mongo_capture_config.uri"),
        ({"uri": "mongodb://h", "database": {"secret": "secret"}}, "mongo_capture_config.database"),
        ({"uri": "mongodb://h", "collection": 1.0}, "mongo_capture_config.collection"),
    ],
)
def test_no_error_about_a_mongo_config_shows_a_value_of_it(value: object, attribute: str) -> None:
    error = refusal(mongo_capture_config=value)
    assert error.attribute == attribute
    assert "secret" not in str(error)
    assert "secret" not in repr(parsed(mongo_capture_config={"uri": "mongodb://u:secret@h"}))
    assert "secret" not in str(parsed(mongo_capture_config={"uri": "u:secret@h"}).problems)
