"""What providers say when something goes wrong, each as its own error of `palaver.errors`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from palaver.chain import http_errors
from palaver.chain.http_errors import redirected, short
from palaver.errors import (
    BackendError,
    BackendRefused,
    BackendResponseError,
    BackendUnauthorized,
    BackendUnavailable,
    ModelNotFound,
    PromptTooLong,
    StreamBroken,
)
from palaver_cloud.key import Key
from palaver_cloud.sse import Reader, Trouble
from palaver_cloud.trouble import from_body

__all__ = ["Failures", "refused_field"]

_STATUSES = {
    # Anthropic (https://platform.claude.com/docs/en/api/errors)
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    # OpenAI
    "invalid_api_key": 401,
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    # Gemini (google.rpc.Code)
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""Which status an error would have had that comes inside a stream."""

_NO_CREDIT = {
    "billing_error",
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_balance",
    "insufficient_quota",
}
_NO_CREDIT_WORDS = re.compile(
    r"credit balance is too low|api usage limits|insufficient (balance|credits)", re.IGNORECASE
)
_BAD_KEY = {"API_KEY_INVALID", "invalid_api_key", "authentication_error"}
_TOO_LONG = {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
_TOO_LONG_WORDS = re.compile(
    r"maximum context length|prompt is too long|context (length|window|size)|"
    r"exceeds? the (maximum number of tokens|available context)",
    re.IGNORECASE,
)
_NO_MODEL = {"model_not_found", "model_decommissioned", "invalid_model", "not_found_error"}
_NO_MODEL_WORDS = re.compile(
    r"\bmodels?\b.*\b(not found|not exist|not supported|invalid|decommissioned)|"
    r"not a valid model|no endpoints found",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]*)?")
_STATUS = re.compile(r"[0-9]{3}")
_TOO_MUCH = re.compile(
    r"too (large|long|high|big|many)|at most|less than|maximum|exceeds?", re.IGNORECASE
)
_LIMITS = {"max_tokens", "max_completion_tokens", "maxOutputTokens"}
_FLAGGED = re.compile(r"\b(flagged|moderation)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failures:
    """Makes the errors of one backend.

    Attributes:
        backend: Its name.
        model: The model that it asks for.
        key: Its key, which is taken out of what servers say.
    """

    backend: str
    model: str
    key: Key

    def check_key(self) -> None:
        """Raise if the key cannot be used, so that no connection is opened for nothing.

        Raises:
            BackendUnauthorized: It cannot.
        """
        if self.key.problem is not None:
            raise BackendUnauthorized(self.backend, self.key.problem)

    def from_answer(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> tuple[BackendError, Trouble]:
        """Return the error for an answer that is no stream, and what it was made of."""
        if 300 <= status < 400:
            return redirected(self.backend, headers), Trouble()
        trouble = from_body(body)
        wait_s = _retry_after_s(headers)
        if wait_s is not None:
            trouble.retry_after_s = wait_s
        return self.from_trouble(status, trouble), trouble

    def no_stream(self, content_type: str, body: bytes) -> BackendError:
        """Return the error for an answer that is well, and no stream."""
        trouble = from_body(body)
        if trouble.kind or trouble.code:
            # OpenRouter, for what goes wrong after it has accepted the request.
            return self.from_trouble(None, trouble)
        return BackendResponseError(
            self.backend, f"answers with {content_type}, not with a stream; check `url`"
        )

    def from_trouble(self, status: int | None, trouble: Trouble) -> BackendError:
        """Return the error for what a provider says.

        Args:
            status: HTTP status; None for an error inside a stream.
            trouble: What it says.
        """
        in_stream = status is None
        status = status or _status(trouble)
        message = short(self.key.hide(trouble.message))
        said = f"{status}: {message}" if message else str(status)
        words = {trouble.kind, trouble.code}
        if status == 402 or words & _NO_CREDIT or _NO_CREDIT_WORDS.search(message):
            # Like a wrong key, and unlike a full queue, it stays so until somebody does something.
            return BackendUnauthorized(
                self.backend,
                f"has no credit left for this key ({said}); add some, or raise the account's limit",
                status_code=status,
            )
        if status == 408:
            return BackendUnavailable(self.backend, f"gave its own request up ({said})")
        if status == 403 and _FLAGGED.search(message):
            # OpenRouter, where a model's own moderation refuses a prompt.
            return BackendRefused(
                self.backend, f"withholds a reply to this prompt ({said})", status_code=403
            )
        if status in (401, 403) or words & _BAD_KEY:
            return BackendUnauthorized(
                self.backend, f"refuses the key ({said}); {self._about_key()}", status_code=status
            )
        if 400 <= status < 500 and status != 429:
            if status == 413 and "rate_limit_exceeded" in words:
                # Groq, for a request that is larger than what a minute allows.
                return http_errors.from_status(
                    self.backend, 429, message, retry_after_s=trouble.retry_after_s
                )
            if status == 413 or words & _TOO_LONG or _TOO_LONG_WORDS.search(message):
                return PromptTooLong(
                    self.backend,
                    f"the prompt is too long ({said}); set `context_tokens` to what {self.model} "
                    "reads",
                    status_code=status,
                )
            if trouble.param == "model" or words & _NO_MODEL or _NO_MODEL_WORDS.search(message):
                return ModelNotFound(
                    self.backend,
                    self.model,
                    f"has no model {self.model!r} ({said}); set `model` to one that it has",
                    status_code=status,
                )
            if status == 404:
                return BackendRefused(
                    self.backend, f"has nothing there ({said}); check `url`", status_code=404
                )
            if in_stream:
                # The request was good enough to begin.
                return BackendResponseError(self.backend, f"failed ({said})")
        if 200 <= status < 400:
            return BackendResponseError(self.backend, f"failed ({said})")
        return http_errors.from_status(
            self.backend, status, message, retry_after_s=trouble.retry_after_s
        )

    def from_reader(self, reader: Reader, *, said_anything: bool) -> BackendError | None:
        """Return the error for a stream that was read to its end, or None if it is whole.

        Args:
            reader: What read it.
            said_anything: Whether there was any text.
        """
        if reader.trouble is not None:
            return self.from_trouble(None, reader.trouble)
        if reader.garbage is not None:
            garbage = self.key.hide(reader.garbage)
            return BackendResponseError(self.backend, f"sent what is not a chunk: {garbage!r}")
        if reader.finish is None:
            ending = "without a finish reason"
            if reader.other_finish is not None:
                ending = f"with {short(self.key.hide(reader.other_finish))!r}"
            return StreamBroken(self.backend, f"ended the stream {ending}")
        if said_anything:
            return None
        if reader.finish == "filter":
            why = f": {short(reader.why)}" if reader.why else ""
            return BackendRefused(self.backend, f"withholds its reply{why}")
        if reader.finish == "length":
            thought = reader.usage.thought if reader.usage is not None else None
            how = f"{thought} tokens of thinking" if thought else "thinking, or too little room"
            return BackendResponseError(
                self.backend,
                f"used up the reply's tokens before its first word ({how}); set "
                "`thinking_tokens`, or turn thinking down in `extra_body`",
            )
        return None

    def _about_key(self) -> str:
        if self.key.env is None:
            return "name the variable that holds one in `api_key_env`"
        return f"set the variable {self.key.env} to the right key and start again"


def refused_field(status: int, trouble: Trouble, sent: Collection[str]) -> str | None:
    """Return which of the fields that were sent the model does not take, or None.

    Args:
        status: HTTP status.
        trouble: What the server said.
        sent: The fields that can be left out.
    """
    if status not in (400, 422):
        return None
    words = {trouble.kind, trouble.code}
    if words & _TOO_LONG or _TOO_LONG_WORDS.search(trouble.message):
        # It is the prompt: `max_tokens` is only named as what could be less.
        return None
    if _TOO_MUCH.search(trouble.message):
        # Without its limit a reply would have no end, and cost what it likes.
        sent = [field for field in sent if field not in _LIMITS]
    if trouble.param in sent:
        return trouble.param
    for field in sorted(sent):
        # `top_p` is `topP` in a request to Gemini, and either in its errors.
        snake = re.sub(r"(?<=[a-z])([A-Z])", lambda match: f"_{match[1].lower()}", field)
        if re.search(rf"\b({re.escape(field)}|{re.escape(snake)})\b", trouble.message):
            return field
    return None


def _status(trouble: Trouble) -> int:
    if _STATUS.fullmatch(trouble.code):
        return int(trouble.code)
    return _STATUSES.get(trouble.kind) or _STATUSES.get(trouble.code) or 500


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how long to wait; OpenAI has a finer header beside the usual one."""
    milliseconds = headers.get("retry-after-ms", "")
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    return http_errors.retry_after_s(headers.get("Retry-After"))
