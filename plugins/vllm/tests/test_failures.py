import json

import pytest

from palaver.errors import (
    BackendError,
    BackendOverloaded,
    BackendRefused,
    BackendResponseError,
    BackendUnauthorized,
    BackendUnavailable,
    ModelNotFound,
    PromptTooLong,
)
from palaver_vllm.failures import from_reader, from_status
from palaver_vllm.stream import StreamReader


def body(message: str, param: str | None = None) -> bytes:
    """Return an error as vLLM writes it."""
    error = {"message": message, "type": "X", "param": param, "code": 400}
    return json.dumps({"error": error}).encode()


LONG = "This model's maximum context length is 1024 tokens. However, your prompt contains 2000"


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        pytest.param(400, body(LONG), PromptTooLong, id="400 too long"),
        pytest.param(400, body("Too long.", "input_tokens"), PromptTooLong, id="400 by its field"),
        pytest.param(
            400,
            body("max_tokens=5000 cannot be greater than max_model_len=2048.", "max_tokens"),
            BackendRefused,
            id="400 reply too long",
        ),
        pytest.param(413, b"", PromptTooLong, id="413"),
        pytest.param(400, body("Bad."), BackendRefused, id="400"),
        pytest.param(422, body("Bad."), BackendRefused, id="422"),
        pytest.param(401, b'{"error": "Unauthorized"}', BackendUnauthorized, id="401"),
        pytest.param(403, b"no", BackendUnauthorized, id="403"),
        pytest.param(404, body("The model `x` does not exist."), ModelNotFound, id="404 model"),
        pytest.param(404, b'{"detail": "Not Found"}', BackendRefused, id="404 route"),
        pytest.param(429, b"", BackendOverloaded, id="429"),
        pytest.param(503, b"", BackendOverloaded, id="503"),
        pytest.param(502, b"<html>", BackendUnavailable, id="502"),
        pytest.param(504, b"<html>", BackendUnavailable, id="504"),
        pytest.param(500, body("EngineCore"), BackendResponseError, id="500"),
        pytest.param(302, b"", BackendResponseError, id="302"),
    ],
)
def test_statuses_have_their_own_errors(
    status: int, answer: bytes, kind: type[BackendError]
) -> None:
    """Every status is one kind of error, and no other."""
    error = from_status("local", "x", status, {}, answer)
    assert type(error) is kind
    if isinstance(error, BackendRefused):
        assert error.status_code == status


def test_a_page_of_a_proxy_is_cut_short() -> None:
    """A long answer does not fill the trail."""
    error = from_status("local", "x", 500, {}, b"<p>\n" * 10_000)
    assert len(error.reason) < 400
    assert "\n" not in error.reason


@pytest.mark.parametrize("code", ["²", "9" * 5000, "٣٣٣", ""])
def test_odd_codes_inside_a_stream_are_no_bug(code: str) -> None:
    """An error event whose code is no status is the server's failure, and no other error."""
    reader = StreamReader()
    event = json.dumps({"error": {"message": "No.", "code": code}})
    reader.feed(f"data: {event}\n\n".encode())
    assert isinstance(from_reader("local", "base", reader), BackendResponseError)
