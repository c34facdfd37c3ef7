"""`config check` says what the variables for proxies and certificates mean, and what of them can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from holdfast.cli.check import check
from holdfast.config import Host
from holdfast.machine_config.finding import Level

from ..machine_config.configs import READINGS, Json, component, of_holdfast

HOST = Host("/home/user", working_folder="/srv/viam")
ATTRIBUTES: Json = {}


def notes(environment: dict[str, str], config: Json = ATTRIBUTES, level: Level = Level.NOTE) -> list[str]:
    return [finding.text for finding in check(config, HOST, environment) if finding.level is level]


def test_without_such_variables_nothing_is_said() -> None:
    assert check(ATTRIBUTES, HOST, {"HOME": "/root", "HTTPS_PROXY": ""}) == []


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({"SOCKS_PROXY": "p:1"}, "directly, or through the SOCKS5 proxy p:1 (SOCKS_PROXY)"),
        ({"SOCKS_PROXY": "p:1", "ONLY_SOCKS_PROXY": "1"}, "reached through the SOCKS5 proxy p:1 (SOCKS_PROXY)"),
        ({"HTTPS_PROXY": "http://u:secret@p:1"}, "reached through the HTTP proxy p:1 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "viam.com"}, "reached directly"),
    ],
)
def test_the_way_to_the_cloud_is_told_without_a_password(environment: dict[str, str], way: str) -> None:
    first = notes(environment)[0]
    assert "app.viam.com:443" in first and way in first and "secret" not in first


def test_certificates_are_told_and_what_is_none(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "own.pem"))
    environment = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "own.pem")}
    assert f"1 certificates of {tmp_path}/own.pem" in notes(environment)[1]
    (tmp_path / "own.pem").write_text("nothing")
    (problem,) = notes(environment, level=Level.PROBLEM)
    assert problem.startswith("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")


def test_what_the_config_sets_for_the_module_counts() -> None:
    whole = of_holdfast({"name": "a", **READINGS}, components=[component("a")])
    whole["modules"][0]["env"] = {"HTTPS_PROXY": "http://p:31z8"}
    (problem,) = notes({}, whole, Level.PROBLEM)
    assert problem.startswith("HTTPS_PROXY") and "31z8" in problem


def test_a_plaintext_cloud_has_no_certificate() -> None:
    found = notes({"HTTPS_PROXY": "http://p:1"}, {"cloud_address": "http://127.0.0.1:1"})
    assert [text.partition(",")[0] for text in found] == ["the cloud"] and "directly" in found[0]
