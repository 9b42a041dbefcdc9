"""Every way to misbehave that has a name, for the misbehaving server's scripts.

Whatever a fault sends that nobody should ever hear has the word `GARBAGE` in it, or is one of the
two things that no character says: a model's refusal, and the prompt itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from palaver.testing.faults_wire import MODELS, Exchange

__all__ = ["FAULTS", "REFUSAL", "SPEAKS", "Fault", "named"]

Fault: TypeAlias = Callable[[Exchange], Awaitable[None]]
"""Answers one request, well or badly."""

SPEAKS = "speaks"
"""Name of what is no fault: the whole text, a finish, the end."""
FEW = 3
"""Tokens that are sent before something goes wrong in the middle of a sentence."""
MANY_BYTES = 10_000_000
REFUSAL = "As an AI language model, I cannot take part in this conversation. I am sorry."
NOISE = b"GARBAGE \x00\xff\xfe\r\r\n\n{{[[ \xf0\x9f\x98 data: GARBAGE\n\n: \n\ndata: {GARBAGE\n\n"
PAGE = b"<html><body><h1>GARBAGE</h1><p>It works!</p></body></html>"


async def _speaks(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.speak()
    await exchange.finish()


async def _lists(exchange: Exchange) -> None:
    model = exchange.server.model
    card = {"id": model, "object": "model", "owned_by": "nobody", "root": model, "parent": None}
    await exchange.json(200, {"object": "list", "data": [{**card, "max_model_len": 32_768}]})


# --- before the first word ----------------------------------------------------------------------


async def _hangs_before_headers(exchange: Exchange) -> None:
    await exchange.hang()


async def _hangs_after_headers(exchange: Exchange) -> None:
    await exchange.raw(exchange.head())
    await exchange.hang()


async def _hangs_after_opening(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.hang()


async def _drips(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.drip(b"".join(map(exchange.event_of, exchange.asked.tokens)))


async def _drips_headers(exchange: Exchange) -> None:
    await exchange.drip(exchange.head())


async def _resets(exchange: Exchange) -> None:
    exchange.cut()


async def _closes(exchange: Exchange) -> None:
    await exchange.close()


async def _garbage(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.raw(exchange.frame(NOISE))
    await exchange.end()


async def _garbage_for_headers(exchange: Exchange) -> None:
    await exchange.raw(NOISE)
    await exchange.close()


async def _page(exchange: Exchange) -> None:
    await exchange.raw(exchange.head(kind="text/html") + exchange.frame(PAGE))
    await exchange.end()


async def _in_band_error(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.event({"error": {"message": "GARBAGE", "type": "server_error", "code": 500}})
    await exchange.end(b"data: [DONE]\n\n")


async def _empty(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.finish()


async def _blank(exchange: Exchange) -> None:
    await exchange.begin()
    for text in (" ", "\n", "\t ", "\n\n"):
        await exchange.token(text)
    await exchange.finish()


async def _says(exchange: Exchange, text: str) -> None:
    """Say something as one token: how slowly it would come is no part of the fault."""
    await exchange.begin()
    await exchange.token(text)
    await exchange.finish()


async def _refusal(exchange: Exchange) -> None:
    await _says(exchange, REFUSAL)


async def _leak(exchange: Exchange) -> None:
    await _says(exchange, exchange.asked.prompt)


async def _endless_line(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.raw(exchange.frame(b"data: "))
    for _ in range(MANY_BYTES // 65_536):
        await exchange.raw(exchange.frame(b"GARBAGE " * 8_192))
    await exchange.end()


# --- in the middle of what it says --------------------------------------------------------------


async def _closes_mid_token(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.speak(FEW)
    event = exchange.event_of(" …GARBAGE")
    await exchange.raw(event[: event.index("…".encode()) + 1])
    exchange.cut()


async def _closes_mid_sentence(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.speak(FEW)
    await exchange.close()


async def _stalls(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.speak(FEW)
    await exchange.hang()


async def _drips_after_text(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.speak(FEW)
    await exchange.drip(b"".join(map(exchange.event_of, exchange.asked.tokens[FEW:])))


async def _error_after_text(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.speak(FEW)
    await exchange.event({"error": {"message": "GARBAGE", "type": "server_error", "code": 500}})
    await exchange.end(b"data: [DONE]\n\n")


async def _changes_its_mind(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.speak(FEW)
    await exchange.finish("abort")


async def _garbage_after_text(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.speak(FEW)
    await exchange.raw(exchange.frame(NOISE))
    await exchange.end()


async def _no_finish(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.speak()
    await exchange.end()


async def _never_ends(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.speak()
    await exchange.hang()


async def _ten_megabytes(exchange: Exchange) -> None:
    await exchange.begin()
    text = exchange.asked.text.rstrip() + " "
    once = exchange.event_of(text * (4_000 // len(text) + 1))
    for _ in range(MANY_BYTES // len(once) + 1):
        await exchange.raw(once)
    await exchange.finish("length")


def _status(status: int, *headers: str) -> Fault:
    async def answers(exchange: Exchange) -> None:
        await exchange.error(status, headers)

    return answers


FAULTS: Mapping[str, Fault] = {
    # Before the first word.
    "hangs before headers": _hangs_before_headers,
    "hangs after headers": _hangs_after_headers,
    "hangs after opening": _hangs_after_opening,
    "drips": _drips,
    "drips headers": _drips_headers,
    "resets": _resets,
    "closes": _closes,
    "401": _status(401),
    "429": _status(429),
    "429, retry after": _status(429, "Retry-After: 1"),
    "500": _status(500),
    "503": _status(503),
    "503, retry after": _status(503, "Retry-After: 1"),
    "garbage": _garbage,
    "garbage for headers": _garbage_for_headers,
    "a page": _page,
    "in-band error": _in_band_error,
    "empty": _empty,
    "blank": _blank,
    "refusal": _refusal,
    "leak": _leak,
    "endless line": _endless_line,
    # In the middle of what it says.
    "closes mid-token": _closes_mid_token,
    "closes mid-sentence": _closes_mid_sentence,
    "stalls": _stalls,
    "drips after text": _drips_after_text,
    "error after text": _error_after_text,
    "changes its mind": _changes_its_mind,
    "garbage after text": _garbage_after_text,
    "no finish": _no_finish,
    "never ends": _never_ends,
    "10 MB": _ten_megabytes,
}
"""The faults by name."""

_ALL: Mapping[str, Fault] = {**FAULTS, SPEAKS: _speaks, MODELS: _lists}


def named(what: str | Fault) -> Fault:
    """Return a fault by its name, or one that is a function already.

    Raises:
        LookupError: There is none of this name; the message lists them.
    """
    if not isinstance(what, str):
        return what
    if what not in _ALL:
        raise LookupError(f"there is no fault {what!r}; there are: {', '.join(_ALL)}")
    return _ALL[what]
