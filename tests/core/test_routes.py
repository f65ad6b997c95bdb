"""The way to a server: what the environment and the command line make of a URL."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.routes import STRAIGHT, Proxy, Route, parse_resolve, route_to
from reconciler.errors import InputError

URL = "https://payments.internal:8443/mcp"
PROXIED = {"HTTPS_PROXY": "http://proxy.example:3128"}


def proxied(url: str, **environ: str) -> bool:
    return route_to(url, {**PROXIED, **environ}).proxy is not None


def test_without_a_word_the_way_is_straight() -> None:
    assert route_to(URL, {}) == STRAIGHT
    assert STRAIGHT.shown == ""


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_proxy_is_taken_from_the_usual_variables_and_named(variable: str) -> None:
    route = route_to(URL, {variable: "http://proxy.example:3128"})
    assert route.proxy == Proxy("proxy.example", 3128, variable)
    assert route.shown == f"through the proxy proxy.example:3128 ({variable})"


def test_lower_case_comes_first_and_the_scheme_before_all() -> None:
    environ = {"ALL_PROXY": "http://a", "HTTPS_PROXY": "http://b", "https_proxy": "http://c"}
    found = [route_to(URL, environ).proxy]
    for variable in ("https_proxy", "HTTPS_PROXY"):
        del environ[variable]
        found.append(route_to(URL, environ).proxy)
    assert [proxy.host for proxy in found if proxy] == ["c", "b", "a"]


def test_each_scheme_has_its_own_proxy() -> None:
    assert route_to("http://payments.internal/mcp", PROXIED) == STRAIGHT
    assert route_to("http://payments.internal/mcp", {"HTTP_PROXY": "http://other:1"}).proxy is not None


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http://proxy.example", "proxy.example", 80),
        ("proxy.example:3128", "proxy.example", 3128),
        ("http://[fd00::1]:3128/", "fd00::1", 3128),
    ],
)
def test_a_proxy_may_be_written_as_people_write_it(text: str, host: str, port: int) -> None:
    proxy = route_to(URL, {"HTTPS_PROXY": text}).proxy
    assert proxy is not None
    assert (proxy.host, proxy.port) == (host, port)


def test_credentials_of_a_proxy_are_a_header_and_never_shown() -> None:
    route = route_to(URL, {"HTTPS_PROXY": "http://me:p%40ss@proxy.example:3128"})
    assert route.proxy is not None
    assert route.proxy.authorization == "Basic bWU6cEBzcw=="
    assert "bWU6cEBzcw" not in f"{route!r} {route.shown}"
    assert "p%40ss" not in f"{route!r} {route.shown}"


@pytest.mark.parametrize(
    "text", ["https://proxy:3128", "socks5://proxy:1080", "http:///x", "http://proxy:99999", "http://[x"]
)
def test_a_proxy_that_cannot_be_used_is_said_so_without_repeating_it(text: str) -> None:
    with pytest.raises(InputError, match="HTTPS_PROXY names no HTTP proxy") as refused:
        route_to(URL, {"HTTPS_PROXY": text})
    assert text not in f"{refused.value}{refused.value.fix}"


@pytest.mark.parametrize(
    ("no_proxy", "url", "through"),
    [
        ("payments.internal", URL, False),
        (".internal", URL, False),
        ("internal", URL, False),
        ("*.internal", URL, False),
        ("a.example, payments.internal ", URL, False),
        ("PAYMENTS.INTERNAL", URL, False),
        ("payments.internal:8443", URL, False),
        ("payments.internal:443", URL, True),
        ("*", URL, False),
        ("ternal", URL, True),
        ("xpayments.internal", URL, True),
        ("", URL, True),
        (",.,", URL, True),
        ("10.0.0.0/8", "https://10.1.2.3/mcp", False),
        ("10.1.2.3", "https://10.1.2.3/mcp", False),
        ("10.0.0.0/8", "https://11.1.2.3/mcp", True),
        ("fd00::/8", "https://[fd00::1]/mcp", False),
        ("nonsense/99", "https://10.1.2.3/mcp", True),
    ],
)
def test_no_proxy_excepts_hosts_domains_and_networks(no_proxy: str, url: str, through: bool) -> None:
    assert proxied(url, NO_PROXY=no_proxy) is through


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_this_machine_is_never_asked_through_a_proxy(host: str) -> None:
    assert not proxied(f"https://{host}:8443/mcp")


def test_an_address_given_goes_before_everything() -> None:
    given = (parse_resolve("payments.internal:8443:10.0.0.7"),)
    route = route_to(URL, PROXIED, given)
    assert route == Route(address="10.0.0.7")
    assert route.shown == "at 10.0.0.7 (--resolve)"
    assert route_to("https://payments.internal/mcp", PROXIED, given).proxy is not None, "another port"
    assert route_to("https://Payments.Internal:8443/x", {}, given) == route


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Payments.internal:8443:10.0.0.7", ("payments.internal", 8443, "10.0.0.7")),
        ("a:443:[fd00::1]", ("a", 443, "fd00::1")),
        ("a:443:fd00::1", ("a", 443, "fd00::1")),
    ],
)
def test_what_to_resolve_is_written_as_for_curl(text: str, parts: tuple[str, int, str]) -> None:
    assert parse_resolve(text) == parts


@pytest.mark.parametrize(
    "text", ["", "a", "a:1", "a:1:", ":1:10.0.0.7", "a:0:10.0.0.7", "a:99999:10.0.0.7", "a:x:10.0.0.7", "a:1:b"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT:ADDRESS, such as"):
        parse_resolve(text)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_whatever_the_environment_says_there_is_a_way_or_an_error_of_ours(url: str, proxy: str, no_proxy: str) -> None:
    for each in (url, f"https://{url}"):
        with suppress(InputError):
            assert isinstance(route_to(each, {"HTTPS_PROXY": proxy, "NO_PROXY": no_proxy}), Route)
