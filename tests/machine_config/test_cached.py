"""What is known of viam-server's own copy of the config: the cards that have no effect, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.filesystem import FileSystem
from holdfast.machine_config import Card, CardReader, cached, cached_config

from .configs import READINGS, associated, component, of_holdfast

SECRET = "the-secret-of-the-machine"
ON = component("on", READINGS)
OFF = component("off", {**READINGS, "disabled": True}, {"method": "DoCommand", "capture_frequency_hz": 0})
LISTED = component("listed", READINGS)
FAR = "rdk:component:sensor/far"
MACHINE = of_holdfast(
    {"name": "listed", **READINGS},
    components=[ON, OFF, LISTED, component("none")],
    remotes=[
        {"name": "far", "service_configs": [associated({"name": FAR, **READINGS, "capture_frequency_hz": 0.5})]}
    ],
    cloud={"secret": SECRET},
)
CARDS = (Card("rdk:component:sensor/on", "Readings", 10.0), Card(FAR, "Readings", 0.5))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(cached_config(str(tmp_path), "part-1"))


def write(path: Path, config: object) -> None:
    path.write_text(json.dumps(config))


def test_the_cards_that_the_service_does_not_have_too_are_found(path: Path) -> None:
    write(path, MACHINE)
    assert CardReader(FileSystem()).read(str(path)) == CARDS


@pytest.mark.parametrize(
    "content",
    [
        "",
        json.dumps(MACHINE)[:-7],
        "[" * 100_000,
        "null",
        "[]",
        "{}",
        json.dumps({"components": 5}),
        json.dumps({**MACHINE, "services": []}),
        json.dumps({**MACHINE, "components": [{**ON, "service_configs": "x"}]}),
    ],
)
def test_what_can_not_be_understood_is_not_known_and_never_nothing(
    path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(content)
    reader = CardReader(FileSystem())
    assert reader.read(str(path)) is None
    write(path, MACHINE)
    assert reader.read(str(path)) == CARDS
    assert caplog.text == ""


def test_what_is_missing_too_large_or_not_this_users_is_not_known(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = CardReader(FileSystem())
    assert reader.read(str(path)) is None
    write(path, MACHINE)
    path.chmod(0o666)
    assert reader.read(str(path)) is None, "another user may have written it"
    path.chmod(0o600)
    assert reader.read(str(path)) == CARDS
    monkeypatch.setattr(cached, "MAX_BYTES", 100)
    assert reader.read(str(path)) is None


def test_a_file_that_is_written_anew_with_the_same_content_is_not_parsed_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[Any] = []
    loads = json.loads

    def parse(text: bytes) -> Any:
        parsed.append(text)
        return loads(text)

    monkeypatch.setattr(json, "loads", parse)
    reader = CardReader(FileSystem())
    for config in (MACHINE, MACHINE, {**MACHINE, "components": [ON]}, MACHINE):
        path.unlink(missing_ok=True)
        write(path, config)
        assert reader.read(str(path)) is not None
    assert len(parsed) == 3


def test_nothing_but_capture_methods_is_kept(path: Path) -> None:
    write(path, MACHINE)
    reader = CardReader(FileSystem())
    found = reader.read(str(path))
    assert SECRET not in repr((found, vars(reader)))
