"""Which certificates are trusted, and what is said when TLS does not come about."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from holdfast.config import Endpoint
from holdfast.sync.way import roots as roots_module
from holdfast.sync.way.roots import Roots, roots
from holdfast.sync.way.trust import why_not_trusted
from holdfast.sync.way.way import Way

ONE, OTHER, THIRD = (trustme.CA() for _ in range(3))
BROKEN = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"


def pem(authority: trustme.CA) -> bytes:
    return authority.cert_pem.bytes().strip()


@pytest.fixture(autouse=True)
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The system's store is in this folder: it has the bundle `first.crt`, `second.crt`, and the folder `certs`."""
    monkeypatch.setattr(
        roots_module, "FILES", tuple(str(tmp_path / name) for name in ("no.crt", "first.crt", "second.crt"))
    )
    monkeypatch.setattr(roots_module, "FOLDERS", (str(tmp_path / "certs"), str(tmp_path / "nowhere")))
    (tmp_path / "certs").mkdir()
    return tmp_path


def trusted(found: Roots) -> set[bytes]:
    assert found.pem is not None
    return {ca for ca in map(pem, (ONE, OTHER, THIRD)) if ca in found.pem}


def test_the_systems_first_file_and_its_folders_are_trusted_each_certificate_once(system: Path) -> None:
    (system / "first.crt").write_bytes(pem(ONE))
    (system / "second.crt").write_bytes(pem(THIRD))
    (system / "certs" / "a.pem").write_bytes(pem(ONE) + b"\n" + pem(OTHER))
    (system / "certs" / "0123abcd.0").symlink_to("a.pem")
    found = roots({})
    assert trusted(found) == {pem(ONE), pem(OTHER)} and found.problems == ()
    assert found.source == f"2 certificates of {system}/first.crt and {system}/certs"


def test_a_machine_without_a_store_trusts_what_grpcio_contains(system: Path) -> None:
    assert roots({}) == Roots(None, "the certificates that grpcio contains")


def test_the_variables_name_files_and_folders_in_place_of_the_systems(system: Path) -> None:
    (system / "first.crt").write_bytes(pem(ONE))
    own = system / "own.pem"
    own.write_bytes(b"a comment\n" + pem(OTHER) + b"\n")
    more = system / "more"
    more.mkdir()
    (more / "x").write_bytes(pem(THIRD))
    assert trusted(roots({"SSL_CERT_FILE": str(own)})) == {pem(OTHER)}
    assert trusted(roots({"SSL_CERT_DIR": f"{more}:{system}/nowhere"})) == {pem(ONE), pem(THIRD)}
    assert trusted(roots({"SSL_CERT_FILE": str(own), "SSL_CERT_DIR": str(more)})) == {pem(OTHER), pem(THIRD)}
    assert trusted(roots({"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(own)})) == {pem(OTHER)}
    both = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(own), "SSL_CERT_DIR": str(more)}
    assert trusted(roots(both)) == {pem(ONE), pem(THIRD)}


@pytest.mark.parametrize("content", [b"", b"no PEM", BROKEN])
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"])
def test_what_is_no_certificate_is_a_problem_that_names_the_variable(
    system: Path, variable: str, content: bytes
) -> None:
    folder = system / "own"
    folder.mkdir()
    (folder / "a.pem").write_bytes(content)
    named = folder if variable == "SSL_CERT_DIR" else folder / "a.pem"
    (problem,) = roots({variable: str(named)}).problems
    assert problem.startswith(variable) and str(named) in problem and "no certificate" in problem


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_what_is_not_there_is_a_problem_and_the_rest_is_trusted(system: Path, variable: str) -> None:
    (system / "first.crt").write_bytes(pem(ONE))
    (system / "certs" / "a").write_bytes(pem(OTHER))
    found = roots({variable: "/no/such/place"})
    assert "No such file" in found.problems[0] and variable in found.problems[0]
    assert trusted(found) == ({pem(OTHER)} if variable == "SSL_CERT_FILE" else {pem(ONE)})


def test_a_broken_certificate_costs_no_other(system: Path) -> None:
    (system / "first.crt").write_bytes(b"\n".join((pem(ONE), BROKEN, pem(OTHER))))
    assert trusted(roots({})) == {pem(ONE), pem(OTHER)}


async def served(context: ssl.SSLContext | None) -> tuple[asyncio.Server, Way]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    return server, Way(Endpoint("localhost", port), address="127.0.0.1")


def context_of(authority: trustme.CA, protocols: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(protocols)
    return context


async def test_a_way_that_does_not_pass_http2_on_is_told() -> None:
    server, way = await served(context_of(ONE, ["http/1.1"]))
    assert "offers no HTTP/2" in await why_not_trusted(way, Roots(pem(ONE), "a test"))
    server.close()


async def test_what_is_trusted_is_no_error() -> None:
    server, way = await served(context_of(ONE, ["h2"]))
    assert await why_not_trusted(way, Roots(pem(ONE), "a test")) == ""
    server.close()


async def test_an_end_that_does_not_speak_tls_is_told() -> None:
    server, way = await served(None)
    assert "speaks no TLS" in await why_not_trusted(way, Roots(pem(ONE), "a test"))
    server.close()
