"""What the environment says of proxies means here what it means to viam-server."""

from __future__ import annotations

import pytest

from holdfast.config import Endpoint
from holdfast.sync.way.proxies import Kind, Proxy, Routes

CLOUD = Endpoint("app.viam.com", 443)


def proxy_of(endpoint: Endpoint = CLOUD, **environment: str) -> Proxy:
    found = Routes.to(endpoint, environment)
    assert found.proxy is not None and found.problems == ()
    return found.proxy


def test_without_variables_the_way_is_direct() -> None:
    assert Routes.to(CLOUD, {}) == Routes(direct=True)
    assert Routes.to(CLOUD, {"SOCKS_PROXY": "", "HTTPS_PROXY": "", "HTTP_PROXY": "http://p:1"}) == Routes(
        direct=True
    )


@pytest.mark.parametrize("text", ["10.0.0.1:1080", "socks5://10.0.0.1:1080", "socks5h://10.0.0.1", "10.0.0.1"])
def test_a_socks_proxy_stands_beside_the_direct_way(text: str) -> None:
    proxy = Proxy(Kind.SOCKS5, "10.0.0.1", 1080, "SOCKS_PROXY")
    assert Routes.to(CLOUD, {"SOCKS_PROXY": text}) == Routes(True, proxy)
    assert Routes.to(CLOUD, {"SOCKS_PROXY": text, "ONLY_SOCKS_PROXY": "1"}) == Routes(False, proxy)


def test_only_socks_without_a_socks_proxy_is_said_to_have_no_effect() -> None:
    found = Routes.to(CLOUD, {"ONLY_SOCKS_PROXY": "1"})
    assert found.direct and "no effect" in found.problems[0]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http://proxy:3128", "proxy", 3128),
        ("proxy:3128", "proxy", 3128),
        ("https://proxy:3128/", "proxy", 3128),
        ("http://proxy", "proxy", 443),
        ("http://[fe80::1]:3128", "fe80::1", 3128),
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_an_http_proxy_takes_the_place_of_the_direct_way(variable: str, text: str, host: str, port: int) -> None:
    found = Routes.to(CLOUD, {variable: text})
    assert found == Routes(False, Proxy(Kind.HTTP, host, port, variable))


def test_an_http_proxy_is_not_asked_where_there_is_a_socks_proxy() -> None:
    assert proxy_of(SOCKS_PROXY="s:1", HTTPS_PROXY="http://p:2").kind is Kind.SOCKS5


def test_the_upper_case_is_read_first() -> None:
    assert proxy_of(HTTPS_PROXY="http://upper:1", https_proxy="http://lower:2").host == "upper"


def test_a_plaintext_cloud_is_reached_through_the_same_proxy() -> None:
    assert proxy_of(Endpoint("cloud.example", 80, is_plaintext=True), HTTPS_PROXY="http://p:1").host == "p"


def test_user_and_password_are_decoded_and_never_shown() -> None:
    proxy = proxy_of(HTTPS_PROXY="http://us%40er:se%3Acret@proxy:3128")
    assert (proxy.user, proxy.password) == ("us@er", "se:cret")
    shown = f"{proxy} {proxy!r}"
    assert "proxy:3128" in shown and "HTTPS_PROXY" in shown
    assert "cret" not in shown and "er" not in shown.replace("HTTP proxy", "").replace("variable", "")


@pytest.mark.parametrize(
    "excepted",
    [
        "*",
        "app.viam.com",
        "viam.com",
        ".viam.com",
        "*.viam.com",
        "APP.VIAM.COM",
        "other, app.viam.com:443",
        "viam.com:443",
    ],
)
def test_a_name_can_be_excepted(excepted: str) -> None:
    for variable in ("NO_PROXY", "no_proxy"):
        assert Routes.to(CLOUD, {"HTTPS_PROXY": "http://p:1", variable: excepted}) == Routes(direct=True)


@pytest.mark.parametrize(
    "excepted", ["", ",", "viam.com:80", "xviam.com", ".app.viam.com", "am.com", "10.0.0.0/8", ":443", "1.2.3.4"]
)
def test_other_names_are_not_excepted_with_it(excepted: str) -> None:
    assert proxy_of(HTTPS_PROXY="http://p:1", NO_PROXY=excepted).host == "p"


@pytest.mark.parametrize(
    ("address", "excepted", "direct"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("10.1.2.3", "10.1.2.3:80", False),
        ("10.1.2.3", "11.0.0.0/8", False),
        ("10.1.2.3", "2.3", False),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "[fd00::1]:443", True),
        ("fd00::1", "fd00:0::1", True),
        ("fd00::1", "fd00::2", False),
    ],
)
def test_an_address_can_be_excepted(address: str, excepted: str, direct: bool) -> None:
    found = Routes.to(Endpoint(address, 443), {"HTTPS_PROXY": "http://p:1", "NO_PROXY": excepted})
    assert found.direct is direct


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::"])
def test_no_proxy_is_asked_for_this_computer(host: str) -> None:
    environment = {"SOCKS_PROXY": "s:1", "ONLY_SOCKS_PROXY": "1", "HTTPS_PROXY": "http://p:1"}
    assert Routes.to(Endpoint(host, 443), environment) == Routes(direct=True)


@pytest.mark.parametrize(
    ("variable", "text", "why"),
    [
        ("HTTPS_PROXY", "http://proxy:31z8", "31z8"),
        ("HTTPS_PROXY", "http://proxy:99999", "99999|0-65535"),
        ("HTTPS_PROXY", "http://:3128", "no host"),
        ("https_proxy", "http://[fe80::1", "IPv6"),
        ("SOCKS_PROXY", "10.0.0.1:http", "http"),
        ("SOCKS_PROXY", ":1080", "no host"),
    ],
)
def test_a_typo_is_told_with_its_variable_and_counts_as_not_set(variable: str, text: str, why: str) -> None:
    found = Routes.to(CLOUD, {variable: text})
    assert (found.direct, found.proxy) == (True, None)
    (problem,) = found.problems
    assert problem.startswith(variable) and any(each in problem for each in why.split("|"))
    assert "host:port" in problem


def test_an_unknown_scheme_is_told_and_used_as_viam_server_does() -> None:
    found = Routes.to(CLOUD, {"HTTPS_PROXY": "htp://proxy:3128"})
    assert found.proxy is not None and found.proxy.kind is Kind.HTTP
    assert "htp://" in found.problems[0]


def test_a_typo_shows_no_password() -> None:
    for text in (
        "http://user:secret@proxy:31z8",
        "http://user:secret@",
        "user:sec@ret@[proxy:1",
        "http://user:12/sec@proxy:1",
    ):
        (problem,) = Routes.to(CLOUD, {"HTTPS_PROXY": text}).problems
        assert "sec" not in problem and "ret" not in problem and "user:" not in problem.partition("write")[0]


def test_https_proxy_may_name_a_socks_proxy() -> None:
    """grpc-go speaks HTTP to it all the same, and fails."""
    assert proxy_of(HTTPS_PROXY="socks5://proxy:1080").kind is Kind.SOCKS5
