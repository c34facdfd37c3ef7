"""`cloud_address` is `https://host[:port]`; another one is a problem, and no other address takes its place."""

from __future__ import annotations

import pytest

from holdfast.config import Endpoint, endpoint
from holdfast.errors import ConfigError

from .samples import parsed


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://app.viam.com:443", Endpoint("app.viam.com", 443, False)),
        ("app.viam.com", Endpoint("app.viam.com", 443, False)),
        ("app.viam.com:8443/", Endpoint("app.viam.com", 8443, False)),
        ("http://127.0.0.1:1", Endpoint("127.0.0.1", 1, True)),
        ("http://localhost", Endpoint("localhost", 80, True)),
        ("http://[::1]:5", Endpoint("::1", 5, True)),
        ("https://[fe80::1%25eth0]", Endpoint("fe80::1%25eth0", 443, False)),
    ],
)
def test_an_address_names_a_server(address: str, expected: Endpoint) -> None:
    assert endpoint(address, allow_plaintext=False) == expected
    found = parsed(cloud_address=f" {address}\n")
    assert (found.cloud_address, found.problems) == (address, ())


@pytest.mark.parametrize(
    "address",
    [
        *(
            "https://",
            "htp://a",
            "grpc://a",
            "https://a:99999",
            "https://a:0",
            "https://a:x",
            "https://a b",
            "https://[",
        ),
        *(
            "https://a/path",
            "https://a?x=1",
            "https://a#b",
            "https:///a",
            "https://u:secret@a",
            "://a",
            "mailto:a@b",
        ),
    ],
)
def test_another_address_is_a_problem_and_nothing_goes_elsewhere(address: str) -> None:
    found = parsed(cloud_address=address)
    assert found.cloud_address == address
    (problem,) = found.problems
    assert problem.startswith("cloud_address: ") and "is not https://host[:port]" in problem
    assert problem.endswith("Until then nothing is sent")
    assert "secret" not in problem
    with pytest.raises(ConfigError):
        endpoint(address, allow_plaintext=True)


@pytest.mark.parametrize("address", ["http://example.com", "http://10.0.0.1:80", "http://localhost.example.com"])
def test_plaintext_to_another_computer_is_a_problem_unless_it_is_allowed(address: str) -> None:
    (problem,) = parsed(cloud_address=address).problems
    assert problem.startswith(
        f"cloud_address: '{address}' would send data unencrypted; use https, or set allow_plain"
    )
    assert parsed(cloud_address=address, allow_plaintext=True).problems == ()
