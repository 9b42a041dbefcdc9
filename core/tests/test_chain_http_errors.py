import aiohttp
import pytest

from palaver.chain.http_errors import (
    MAX_CHARS,
    from_exception,
    from_status,
    redirected,
    retry_after_s,
    short,
)
from palaver.errors import (
    BackendError,
    BackendOverloaded,
    BackendRefused,
    BackendResponseError,
    BackendTimeout,
    BackendUnauthorized,
    BackendUnavailable,
)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BackendRefused),
        (401, BackendUnauthorized),
        (403, BackendUnauthorized),
        (404, BackendRefused),
        (422, BackendRefused),
        (429, BackendOverloaded),
        (500, BackendResponseError),
        (502, BackendUnavailable),
        (503, BackendOverloaded),
        (504, BackendUnavailable),
        (522, BackendUnavailable),
        (529, BackendOverloaded),
    ],
)
def test_statuses_have_their_own_errors(status: int, kind: type[BackendError]) -> None:
    """Every status is one kind of error, which tells what the server said."""
    error = from_status("cloud", status, "Because.")
    assert type(error) is kind
    assert f"{status}: Because." in error.reason
    if isinstance(error, BackendRefused):
        assert error.status_code == status


def test_how_long_to_wait_is_kept() -> None:
    """An overloaded server's wish to be left alone is in the error."""
    error = from_status("cloud", 429, retry_after_s=7)
    assert isinstance(error, BackendOverloaded)
    assert error.retry_after_s == 7


def test_a_redirect_names_where_it_leads() -> None:
    """The error for a redirect names its target, or says that there is none."""
    assert "https://elsewhere" in redirected("x", {"Location": "https://elsewhere"}).reason
    assert "somewhere else" in redirected("x", {}).reason


def test_a_servers_words_are_cut_short() -> None:
    """A page of a proxy becomes one line of bounded length."""
    assert short(" a\n b ") == "a b"
    assert len(short("<p>\n" * 10_000)) == MAX_CHARS


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2), ("0.5", 0.5), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", None), ("", None)],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    """RFC 9110 allows both; what is neither is left out."""
    assert retry_after_s(value) == seconds


def test_what_is_no_http_is_told() -> None:
    """A server that speaks something else is a broken answer, not an absent server."""
    error = from_exception("local", "http://x", aiohttp.ClientPayloadError("bad"), 1.0)
    assert type(error) is BackendResponseError


def test_an_absent_server_is_told_with_a_hint() -> None:
    """The error for a machine that does not answer ends with what to do."""
    error = from_exception("local", "http://x", aiohttp.ServerTimeoutError(), 0.5)
    assert isinstance(error, BackendTimeout)
    assert (error.phase, error.limit_s) == ("connect", 0.5)
    assert isinstance(
        from_exception("local", "http://x", ConnectionResetError(), 1.0), BackendUnavailable
    )
