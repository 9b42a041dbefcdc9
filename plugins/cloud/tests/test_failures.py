"""What providers say when something goes wrong."""

import email.utils
import json
import time
from typing import Any

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
    StreamBroken,
)
from palaver_cloud.failures import Failures, refused_field
from palaver_cloud.key import Key
from palaver_cloud.openai_stream import OpenAIReader
from palaver_cloud.sse import Reader, Trouble, Usage
from palaver_cloud.trouble import from_body, from_json

KEY = "sk-a-very-secret-key"
FAILURES = Failures("fast", "base", Key("TEST_CLOUD_KEY", {"TEST_CLOUD_KEY": KEY}))


def openai(message: str, **more: Any) -> dict[str, Any]:
    """Return an error as OpenAI writes it."""
    fields = {"type": "invalid_request_error", "param": None, "code": None, **more}
    return {"error": {"message": message, **fields}}


def anthropic(kind: str, message: str = "No.") -> dict[str, Any]:
    """Return an error as Anthropic writes it."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def gemini(code: int, status: str, message: str = "No.", *details: Any) -> dict[str, Any]:
    """Return an error as Gemini writes it."""
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    return {"error": error}


def google(kind: str, **fields: Any) -> dict[str, Any]:
    """Return one of Gemini's details."""
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


QUOTA = "You exceeded your current quota, please check your plan and billing details."
BAD_KEY = google("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com")
TOO_MANY = "The input token count (1054016) exceeds the maximum number of tokens allowed (1048576)."


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        pytest.param(401, openai("Wrong.", code="invalid_api_key"), BackendUnauthorized, id="401"),
        pytest.param(403, openai("Country."), BackendUnauthorized, id="403"),
        pytest.param(
            401, anthropic("authentication_error"), BackendUnauthorized, id="401 anthropic"
        ),
        pytest.param(
            400,
            gemini(400, "INVALID_ARGUMENT", "API key not valid.", BAD_KEY),
            BackendUnauthorized,
            id="400 gemini key",
        ),
        pytest.param(
            429,
            openai(QUOTA, type="insufficient_quota", code="insufficient_quota"),
            BackendUnauthorized,
            id="429 no credit openai",
        ),
        pytest.param(402, openai("Pay."), BackendUnauthorized, id="402"),
        pytest.param(
            400,
            anthropic("invalid_request_error", "Your credit balance is too low to access."),
            BackendUnauthorized,
            id="400 no credit anthropic",
        ),
        pytest.param(
            400,
            anthropic("invalid_request_error", "You have reached your specified API usage limits."),
            BackendUnauthorized,
            id="400 limit anthropic",
        ),
        pytest.param(429, openai("Slow.", code="rate_limit_exceeded"), BackendOverloaded, id="429"),
        pytest.param(429, anthropic("rate_limit_error"), BackendOverloaded, id="429 anthropic"),
        pytest.param(429, gemini(429, "RESOURCE_EXHAUSTED"), BackendOverloaded, id="429 gemini"),
        pytest.param(
            429,
            openai("Limit 0 tokens in this context window, maximum context length"),
            BackendOverloaded,
            id="429 in other words",
        ),
        pytest.param(529, anthropic("overloaded_error"), BackendOverloaded, id="529"),
        pytest.param(503, gemini(503, "UNAVAILABLE"), BackendOverloaded, id="503"),
        pytest.param(
            413, openai("Large.", code="rate_limit_exceeded"), BackendOverloaded, id="413 of groq"
        ),
        pytest.param(
            400, openai("Long.", code="context_length_exceeded"), PromptTooLong, id="long openai"
        ),
        pytest.param(
            400,
            anthropic("invalid_request_error", "prompt is too long: 2 tokens > 1 maximum"),
            PromptTooLong,
            id="long anthropic",
        ),
        pytest.param(
            400, gemini(400, "INVALID_ARGUMENT", TOO_MANY), PromptTooLong, id="long gemini"
        ),
        pytest.param(
            400,
            {"error": {"code": 400, "message": "x", "type": "exceed_context_size_error"}},
            PromptTooLong,
            id="long llama.cpp",
        ),
        pytest.param(413, anthropic("request_too_large"), PromptTooLong, id="413"),
        pytest.param(
            404,
            openai("The model `x` does not exist or you do not have access to it."),
            ModelNotFound,
            id="model openai",
        ),
        pytest.param(
            404, anthropic("not_found_error", "model: x"), ModelNotFound, id="model anthropic"
        ),
        pytest.param(
            404,
            gemini(404, "NOT_FOUND", "models/x is not found for API version v1beta, or is not"),
            ModelNotFound,
            id="model gemini",
        ),
        pytest.param(
            400, openai("x is not a valid model ID"), ModelNotFound, id="model openrouter"
        ),
        pytest.param(
            400,
            {"object": "error", "message": "Invalid x", "type": "invalid_model", "code": "1500"},
            ModelNotFound,
            id="model mistral",
        ),
        pytest.param(404, b'{"detail": "Not Found"}', BackendRefused, id="404 route"),
        pytest.param(404, b"<html>", BackendRefused, id="404 page"),
        pytest.param(400, openai("Bad."), BackendRefused, id="400"),
        pytest.param(422, {"detail": [{"loc": ["body"]}]}, BackendRefused, id="422"),
        pytest.param(
            403,
            openai("Your input was flagged", code=403, metadata={"reasons": ["x"]}),
            BackendRefused,
            id="403 moderation of openrouter",
        ),
        pytest.param(408, openai("Timed out."), BackendUnavailable, id="408"),
        pytest.param(500, anthropic("api_error"), BackendResponseError, id="500"),
        pytest.param(502, b"<html>", BackendUnavailable, id="502"),
        pytest.param(504, gemini(504, "DEADLINE_EXCEEDED"), BackendUnavailable, id="504"),
        pytest.param(522, b"", BackendUnavailable, id="522"),
        pytest.param(302, b"", BackendResponseError, id="302"),
    ],
)
def test_statuses_have_their_own_errors(status: int, answer: Any, kind: type[BackendError]) -> None:
    """Every answer is one kind of error, and no other."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    error, _ = FAILURES.from_answer(status, {}, body)
    assert type(error) is kind
    assert error.reason


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (anthropic("overloaded_error"), BackendOverloaded),
        (anthropic("rate_limit_error"), BackendOverloaded),
        (anthropic("api_error"), BackendResponseError),
        (anthropic("invalid_request_error"), BackendResponseError),
        (anthropic("authentication_error"), BackendUnauthorized),
        (openai("x", type="server_error"), BackendResponseError),
        (openai("x", type="insufficient_quota", code="insufficient_quota"), BackendUnauthorized),
        (openai("x", type=None, code=502), BackendUnavailable),
        (gemini(503, "UNAVAILABLE"), BackendOverloaded),
        (gemini(500, "INTERNAL"), BackendResponseError),
        ({"error": "text"}, BackendResponseError),
        ({"error": {"code": 200}}, BackendResponseError),
        ({}, BackendResponseError),
    ],
    ids=str,
)
def test_errors_inside_a_stream_are_told_apart(told: Any, kind: type[BackendError]) -> None:
    """An error event is what its status would have been."""
    assert type(FAILURES.from_trouble(None, from_json(told))) is kind


@pytest.mark.parametrize(
    ("headers", "answer", "seconds"),
    [
        ({"Retry-After": "7"}, openai("x"), 7),
        ({"Retry-After": "0.5"}, openai("x"), 0.5),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, openai("x"), 0),
        ({"Retry-After": "soon"}, openai("x"), None),
        ({"Retry-After": "2", "retry-after-ms": "1500"}, openai("x"), 1.5),
        ({}, openai("x"), None),
        ({}, gemini(429, "RESOURCE_EXHAUSTED", "x", google("RetryInfo", retryDelay="37s")), 37),
        ({}, gemini(429, "X", "x", google("Help"), google("RetryInfo", retryDelay="3.5s")), 3.5),
        ({}, gemini(429, "X", "x", google("RetryInfo", retryDelay="soon")), None),
        ({}, gemini(429, "X", "x", "no object"), None),
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [429, 529])
def test_how_long_to_wait(
    status: int, headers: dict[str, str], answer: Any, seconds: float | None
) -> None:
    """A wish to be left alone is found in headers and, with Gemini, in the details."""
    error, _ = FAILURES.from_answer(status, headers, json.dumps(answer).encode())
    assert isinstance(error, BackendOverloaded)
    assert error.retry_after_s == seconds


def test_a_date_in_the_future_is_a_time_to_wait() -> None:
    """`Retry-After` may be a date, of which the seconds until then are taken."""
    date = email.utils.formatdate(time.time() + 3600, usegmt=True)
    error, _ = FAILURES.from_answer(429, {"Retry-After": date}, b"")
    assert isinstance(error, BackendOverloaded)
    assert error.retry_after_s is not None
    assert 3000 < error.retry_after_s <= 3600


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503])
def test_a_key_that_a_server_repeats_is_taken_out(status: int) -> None:
    """No error carries the key, whatever a server says."""
    answer = openai(f"Incorrect API key provided: {KEY}, and again {KEY}")
    error, _ = FAILURES.from_answer(status, {}, json.dumps(answer).encode())
    page, _ = FAILURES.from_answer(status, {}, f"<html>Bearer {KEY}".encode())
    reader = OpenAIReader()
    reader.feed(f"data: {KEY}\n\n".encode())
    garbage = FAILURES.from_reader(reader, said_anything=False)
    for one in (error, page, garbage):
        assert KEY not in f"{one} {one!r} {vars(one)}"
    assert KEY not in repr(FAILURES)


def test_no_credit_is_no_full_queue() -> None:
    """An account without credit is told as such, and nobody is asked to try again soon."""
    answer = openai(QUOTA, type="insufficient_quota", code="insufficient_quota")
    error, _ = FAILURES.from_answer(429, {"Retry-After": "1"}, json.dumps(answer).encode())
    assert "no credit" in error.reason
    assert isinstance(error, BackendUnauthorized)
    assert (error.status_code, error.retry_after_s) == (429, None)


def ended(**facts: Any) -> Reader:
    """Return a reader that has read a stream to its end."""
    reader = OpenAIReader()
    for name, value in facts.items():
        setattr(reader, name, value)
    return reader


@pytest.mark.parametrize(
    ("reader", "kind", "words"),
    [
        (ended(), StreamBroken, "without a finish reason"),
        (ended(other_finish="OTHER"), StreamBroken, "'OTHER'"),
        (ended(finish="filter", why="SAFETY"), BackendRefused, "SAFETY"),
        (ended(finish="length", usage=Usage(1, 9, 0, 8)), BackendResponseError, "8 tokens"),
        (ended(finish="length"), BackendResponseError, "thinking_tokens"),
        (ended(garbage="<html>"), BackendResponseError, "<html>"),
        (ended(finish="stop", trouble=Trouble("Boom.")), BackendResponseError, "Boom."),
    ],
)
def test_streams_without_words(reader: Reader, kind: type[BackendError], words: str) -> None:
    """A stream that brought nothing to say is an error that tells why."""
    error = FAILURES.from_reader(reader, said_anything=False)
    assert type(error) is kind
    assert words in error.reason


@pytest.mark.parametrize("finish", ["stop", "length", "filter"])
def test_streams_with_words_are_replies(finish: str) -> None:
    """Once something was said, a cut and a filter are ways to end."""
    assert FAILURES.from_reader(ended(finish=finish), said_anything=True) is None


@pytest.mark.parametrize(
    ("status", "trouble", "field"),
    [
        (400, Trouble("Unsupported.", param="temperature"), "temperature"),
        (400, Trouble("`temperature` is deprecated for this model."), "temperature"),
        (422, Trouble("temperature: extra fields not permitted"), "temperature"),
        (400, Trouble("Use 'max_completion_tokens' instead.", param="max_tokens"), "max_tokens"),
        (400, Trouble("stop_sequences and such"), None),
        (400, Trouble("stop: no"), "stop"),
        (400, Trouble("thinking_budget 0 is invalid: thinkingConfig"), "thinkingConfig"),
        (400, Trouble("Invalid thinking_config."), "thinkingConfig"),
        (400, Trouble("Bad."), None),
        (401, Trouble("temperature"), None),
        (500, Trouble("temperature"), None),
    ],
    ids=str,
)
def test_refused_fields_are_found(status: int, trouble: Trouble, field: str | None) -> None:
    """The field that a model does not take is known from the error."""
    sent = {"temperature", "max_tokens", "stop", "thinkingConfig"}
    assert refused_field(status, trouble, sent) == field


@pytest.mark.parametrize(
    "trouble",
    [
        # vLLM and OpenAI for a prompt that is too long, and for a reply that would be.
        Trouble("'max_tokens' is too large: 500. This model's maximum context length is 2048."),
        Trouble("Reduce the messages or max_tokens.", code="context_length_exceeded"),
        Trouble("max_tokens is too large: 100000. It supports at most 16384.", param="max_tokens"),
        Trouble("`max_tokens` must be less than or equal to `8192`"),
    ],
    ids=str,
)
def test_a_limit_that_is_too_high_is_not_left_out(trouble: Trouble) -> None:
    """One long prompt does not take the limit from all replies that follow."""
    assert refused_field(400, trouble, {"max_tokens", "temperature"}) is None


@pytest.mark.parametrize("number", ["²", "9" * 5000, "٣", "1e5", "-1"])
def test_odd_numbers_are_no_bug(number: str) -> None:
    """Digits that are no number, or far too many of them, are still one of our errors."""
    error, _ = FAILURES.from_answer(429, {"retry-after-ms": number}, b"{}")
    assert isinstance(error, BackendOverloaded)
    assert error.retry_after_s is None
    assert isinstance(FAILURES.from_trouble(None, Trouble("No.", code=number)), BackendError)


def test_a_finish_reason_is_told_in_short() -> None:
    """However long what a server sends for one is, the trail stays readable."""
    error = FAILURES.from_reader(ended(other_finish=f"{KEY} {'x' * 10_000}"), said_anything=False)
    assert error is not None
    assert KEY not in error.reason
    assert len(error.reason) < 500


def test_a_field_that_mistral_does_not_know_is_found() -> None:
    """Its message is an object, which names the field."""
    detail = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs"}
    told = {"object": "error", "message": {"detail": [detail]}, "type": "invalid_request_error"}
    trouble = from_json(told)
    assert (trouble.kind, refused_field(422, trouble, {"seed", "stop"})) == (
        "invalid_request_error",
        "seed",
    )


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"null", b"1", b'{"error": 5}', b"[[]]"])
def test_any_body_is_some_error(body: bytes) -> None:
    """Whatever an error's body is, it is told without another error."""
    assert isinstance(from_body(body), Trouble)
    assert FAILURES.from_answer(500, {}, body)[0].reason
