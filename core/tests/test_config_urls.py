"""Addresses of servers in settings."""

from __future__ import annotations

import pytest

from palaver.config.urls import server_url


@pytest.mark.parametrize(
    ("value", "routes", "wanted"),
    [
        ("http://gpu:8000", (), "http://gpu:8000"),
        ("https://gpu/", ("/v1",), "https://gpu"),
        ("http://gpu:8000/v1/", ("/v1",), "http://gpu:8000"),
        ("http://gpu/a/v1", ("/v1",), "http://gpu/a"),
        ("http://gpu/a/v1/models", ("/v1", "/models"), "http://gpu/a/v1"),
    ],
)
def test_what_people_copy_is_taken_off(value: str, routes: tuple[str, ...], wanted: str) -> None:
    """Slashes and routes at the end are not part of a server's address."""
    assert server_url(value, "http://x", *routes) == wanted


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("gpu:8000", "write an address such as 'http://x'"),
        ("ftp://gpu", "instead of 'ftp://gpu'"),
        ("http:///path", "write an address"),
        ("http://me:secret@gpu", "api_key_env"),
        ("http://gpu?key=secret", "api_key_env"),
        ("http://gpu#part", "api_key_env"),
        ("http://[", "Invalid"),
    ],
)
def test_what_is_no_address_is_refused(value: str, problem: str) -> None:
    """The error says what to write instead."""
    with pytest.raises(ValueError, match=problem):
        server_url(value, "http://x")
