"""Where `palaver explain` gets its turns: a running server, or what a client has saved."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import ValidationError

from palaver.cli.output import plain
from palaver.errors import PalaverError
from palaver.hints import did_you_mean
from palaver.messages import TurnDone
from palaver.recent import TurnInfo

__all__ = ["of_done", "turns_of_file", "turns_of_server"]

ASK_S = 10.0
"""Time for a server to answer, in seconds."""
MAX_FILE_BYTES = 256_000_000
MAX_DEPTH = 6
"""How deep in a log's objects a message may stand."""
MAX_ANSWER_BYTES = 32_000_000


def of_done(done: TurnDone, *, npc: str | None = None, tier: str | None = None) -> TurnInfo:
    """Return what is known of a turn by its `turn.done`.

    Args:
        done: The message.
        npc: Who answered, as `turn.accepted` says.
        tier: The policy, likewise.
    """
    return TurnInfo.model_validate({**done.model_dump(), "npc": npc, "tier": tier})


def turns_of_file(file: str, turn: str | None, last: int) -> list[TurnInfo]:
    """Read turns out of a file.

    Any text with JSON in it will do: a single `turn.done`, a list, JSON lines, an event stream,
    the answer of `GET /v1/turns`, or a log whose lines end with a message.

    Args:
        file: Its path, or `-` for standard input.
        turn: The id that is wanted, or None for the last ones.
        last: How many.

    Raises:
        PalaverError: It cannot be read, or what is wanted is not in it.
    """
    shown = "what came in" if file == "-" else file
    found = list(_turns_in(_read(file)))
    if not found:
        raise PalaverError(
            f"{shown} has no turn in it; save the messages `turn.done` of a client, or what "
            "GET /v1/turns answers"
        )
    if turn is None:
        return found[-last:]
    matching = [one for one in found if one.turn == turn]
    if not matching:
        hint = did_you_mean(turn, {one.turn for one in found}, otherwise="it has")
        raise PalaverError(f"{shown} has no turn {turn!r}{hint}")
    return matching[-1:]


def _read(file: str) -> str:
    try:
        if file == "-":
            data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(file).open("rb") as source:
                data = source.read(MAX_FILE_BYTES + 1)
    except OSError as err:
        raise PalaverError(f"{file} cannot be read: {err.strerror}; check the path") from err
    if len(data) > MAX_FILE_BYTES:
        raise PalaverError(f"{file} is larger than {MAX_FILE_BYTES} bytes; cut it")
    return data.decode("utf-8-sig", "replace")


def _turns_in(text: str) -> Iterator[TurnInfo]:
    try:
        yield from _turns_of(json.loads(text), {})
        return
    except (ValueError, RecursionError):
        pass  # Not one JSON document, so it is lines.
    accepted: dict[str, dict[str, Any]] = {}
    for line in text.splitlines():
        at = line.find("{")
        if at < 0:
            continue
        try:
            # Whatever stands behind the object is not ours.
            data, _ = json.JSONDecoder().raw_decode(line, at)
        except (ValueError, RecursionError):
            continue
        yield from _turns_of(data, accepted)


def _turns_of(
    data: Any, accepted: dict[str, dict[str, Any]], depth: int = MAX_DEPTH
) -> Iterator[TurnInfo]:
    """Yield the turns in plain data; `accepted` keeps what their beginnings say."""
    if isinstance(data, list) and depth:
        for item in data:
            yield from _turns_of(item, accepted, depth - 1)
    elif isinstance(data, dict):
        if data.get("type") == "turn.accepted" and isinstance(data.get("turn"), str):
            accepted[data["turn"]] = {key: data.get(key) for key in ("npc", "tier")}
        elif "trail" in data and "served_by" in data:
            try:
                known = accepted.get(str(data.get("turn")), {})
                yield TurnInfo.model_validate({**_usage_of(data), **known})
            except ValidationError:
                return
        elif depth:
            for item in data.values():
                if isinstance(item, dict | list):
                    yield from _turns_of(item, accepted, depth - 1)


def _usage_of(data: dict[str, Any]) -> dict[str, Any]:
    """Return a turn with its usage; the field `palaver` of a completion has only its cost."""
    if "usage" in data or "cost_usd" not in data:
        return data
    tokens = {"prompt_tokens": 0, "completion_tokens": 0}
    for entry in data["trail"]:
        for name in tokens:
            tokens[name] += entry.get(name) or 0
    return {**data, "usage": {**tokens, "cost_usd": data["cost_usd"]}}


async def turns_of_server(
    url: str, token: str | None, turn: str | None, last: int
) -> list[TurnInfo]:
    """Ask a running server for turns.

    Args:
        url: Its address; that of its WebSocket will do.
        token: Where it asks for one: an engine's.
        turn: The id that is wanted, or None for the last ones.
        last: How many.

    Raises:
        PalaverError: It cannot be reached, it refuses, or what is wanted is not there.
    """
    path = f"/v1/turns/{quote(turn, safe='')}" if turn is not None else f"/v1/turns?last={last}"
    data = await _get(url, token, path)
    try:
        found = [data] if turn is not None else data["turns"]
        turns = [TurnInfo.model_validate(one) for one in found]
    except (ValidationError, KeyError, TypeError) as err:
        raise _no_server(url) from err
    if not turns:
        raise PalaverError(f"no turn has ended at {url} yet; talk to somebody there first")
    return turns


async def _get(url: str, token: str | None, path: str) -> Any:
    import aiohttp

    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.netloc:
        raise PalaverError(f"{url!r} is no address of a server; write http://127.0.0.1:8765")
    address = urlunsplit((scheme, parts.netloc, "", "", "")) + path
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            asyncio.timeout(ASK_S),
            aiohttp.ClientSession(trust_env=False) as http,
            http.get(address, headers=headers, allow_redirects=False) as response,
        ):
            data = await response.content.read(MAX_ANSWER_BYTES)
            while more := await response.content.read(MAX_ANSWER_BYTES):
                data += more
                if len(data) > MAX_ANSWER_BYTES:
                    raise _no_server(url)
            answer = json.loads(data)
            if response.status == 200:
                return answer
            error = answer["error"]
            problem = plain(str(error["message"]))
            if response.status == 401 and not token:
                problem += "; set PALAVER_TOKEN to an engine's token"
            raise PalaverError(f"the server at {url} says: {problem}")
    except (aiohttp.ClientConnectionError, TimeoutError) as err:
        why = str(err) or "too slow"
        raise PalaverError(
            f"no server answers at {url} ({why}); start one with `palaver serve`, give another "
            "--url, or a --file"
        ) from err
    except (aiohttp.ClientError, ValueError, KeyError, TypeError) as err:
        raise _no_server(url) from err


def _no_server(url: str) -> PalaverError:
    return PalaverError(
        f"what answers at {url} is no Palaver server that can tell of turns; check the address"
    )
