"""The HTTP routes beside the WebSocket: health, information, and single turns."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from pydantic import ValidationError

from palaver import messages as m
from palaver._version import __version__
from palaver.errors import ProtocolError
from palaver.server.frames import problem
from palaver.server.hub import check_game
from palaver.turn.outgoing import accepted_message

if TYPE_CHECKING:
    from palaver.gateway import Gateway
    from palaver.server.admission import Admission
    from palaver.server.hub import Hub
    from palaver.server.security import Gate, Principal
    from palaver.turn.model import Turn

__all__ = ["HttpRoutes"]

log = logging.getLogger("palaver.http")

STATUS = {
    "unauthorized": 401,
    "unknown_npc": 404,
    "unknown_persona": 404,
    "too_large": 413,
    "rate_limited": 429,
    "overloaded": 503,
    "internal": 500,
}
"""HTTP status of each error code; 400 for the others."""
EVENTS = frozenset({"sentence", "emotion", "action"})


class HttpRoutes:
    """The routes.

    Args:
        gateway: What runs turns.
        hub: The sessions, to count them.
        gate: Who may ask.
        admission: How much.
    """

    def __init__(self, gateway: Gateway, hub: Hub, gate: Gate, admission: Admission) -> None:
        self._gateway = gateway
        self._hub = hub
        self._gate = gate
        self._admission = admission
        self._next = 0

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the routes for an application."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/v1/info", self.info),
            web.post("/v1/turns", self.turns),
        ]

    async def healthz(self, request: web.Request) -> web.Response:
        """Say that the process lives."""
        return web.json_response({"status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        """Say whether turns can be served: a world with personas is loaded."""
        personas = len(self._gateway.world.personas)
        return web.json_response(
            {"status": "ok" if personas else "no personas", "personas": personas},
            status=200 if personas else 503,
        )

    async def info(self, request: web.Request) -> web.Response:
        """Tell what is served: version, world, personas, tiers, backends."""
        self._gate.bearer(request)
        gateway = self._gateway
        return web.json_response(
            {
                "server": {"name": "palaver", "version": __version__},
                "protocol": m.PROTOCOL,
                "world": gateway.world.name,
                "personas": {
                    name: persona.front.name for name, persona in gateway.world.personas.items()
                },
                "tiers": {name: tier.chain for name, tier in gateway.settings.tiers.items()},
                "backends": {
                    name: {"type": entry.type.name} for name, entry in gateway.backends.items()
                },
                "sessions": len(self._hub),
                "cache": self._cache(),
            }
        )

    def _cache(self) -> dict[str, Any]:
        cache = self._gateway.cache
        return {
            "situations": cache.situations,
            "bytes": cache.size_bytes,
            "tiers": {
                name: {
                    "hits": one.hits,
                    "misses": one.misses,
                    "bypassed": one.bypassed,
                    "stored": one.stored,
                    "renewed": one.renewed,
                    "refused": dict(one.refused),
                    "hit_rate": one.hit_rate,
                }
                for name, one in cache.counts.items()
            },
        }

    async def turns(self, request: web.Request) -> web.StreamResponse:
        """Run one turn; answers `turn.done`, or with `text/event-stream` all messages."""
        principal = self._gate.bearer(request)
        self._admission.check_rate(principal)
        asked = await self._read(request)
        _check_role(principal, asked)
        check_game(principal, asked.game, self._gateway)
        with self._admission.turn(principal):
            if "text/event-stream" in request.headers.get("Accept", ""):
                return await self._stream(request, asked)
            collector = _Collector()
            await self._ask(asked, collector)
            return web.Response(text=collector.last, content_type="application/json")

    async def _stream(self, request: web.Request, asked: m.TurnRequest) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        sink = _EventStream()

        def accepted(turn: Turn) -> None:
            sink.emit(*accepted_message(turn))

        run = asyncio.create_task(self._ask(asked, sink, accepted))
        try:
            first = asyncio.create_task(sink.next())
            await asyncio.wait({run, first}, return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                first.cancel()
                run.result()  # Raises what kept the turn from being accepted.
            await response.prepare(request)
            chunk: bytes | None = await first
            while chunk is not None:
                await response.write(chunk)
                chunk = await sink.next()
            await response.write_eof()
        finally:
            # The client went away, or the turn is over already.
            run.cancel()
            await asyncio.wait({run}, timeout=5)
        return response

    async def _ask(self, asked: m.TurnRequest, sink: Any, on_turn: Any = None) -> None:
        self._next += 1
        fields = asked.model_dump(exclude_none=True)
        fields.setdefault("turn", f"http-{self._next}")
        try:
            await self._gateway.ask(
                fields.pop("text", None),
                npc=fields.pop("npc"),
                sink=sink,
                on_turn=on_turn,
                **fields,
            )
        except ProtocolError as err:
            if err.code != "unknown_npc":
                raise
            # Over HTTP there is a shorter way than the one that the game knows.
            hint = f"there is no NPC {asked.npc!r}; give `persona`, or send npc.upsert first"
            raise ProtocolError(err.code, hint) from err

    async def _read(self, request: web.Request) -> m.TurnRequest:
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(reason="send application/json")
        async with asyncio.timeout(10):
            body = await request.read()
        try:
            parsed = msgspec.json.decode(body)
            if not isinstance(parsed, dict):
                raise ProtocolError("bad_message", "the body is one JSON object, as turn.start is")
            return m.TurnRequest.model_validate(parsed)
        except ValidationError as err:
            raise ProtocolError("bad_message", problem(err, m.TurnRequest)) from err
        except (msgspec.DecodeError, RecursionError, UnicodeError) as err:
            raise ProtocolError("bad_message", f"the body is not JSON: {err}") from err


class _Collector:
    """Keeps the last message of a turn."""

    capabilities: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.last = ""
        self._seq = 0

    def emit(self, head: str, tail: str) -> None:
        self._seq += 1
        self.last = f"{head}{self._seq}{tail}"

    end = emit


class _EventStream:
    """Turns the messages of a turn into server-sent events.

    It needs no bound of its own: a reply is bounded, and a client that does not read holds up
    only its own response.
    """

    capabilities = EVENTS

    def __init__(self) -> None:
        self._seq = 0
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._over = False

    def emit(self, head: str, tail: str) -> None:
        self._seq += 1
        frame = f"{head}{self._seq}{tail}"
        kind = frame[9 : frame.index('"', 9)]
        self._queue.put_nowait(f"event: {kind}\ndata: {frame}\n\n".encode())

    def end(self, head: str, tail: str) -> None:
        self.emit(head, tail)
        self._over = True

    async def next(self) -> bytes | None:
        """Return everything that is there, waiting for the first; None at the end."""
        if self._over and self._queue.empty():
            return None
        parts = [await self._queue.get()]
        while not self._queue.empty():
            parts.append(self._queue.get_nowait())
        return b"".join(parts)


def _check_role(principal: Principal, asked: m.TurnRequest) -> None:
    """A player's token may only speak as that player, to NPCs that exist."""
    if principal.role == "engine":
        return
    if (
        asked.player != principal.player
        or asked.persona is not None
        or asked.tier is not None
        or asked.facts
        or asked.cue is not None
        or asked.speaker is not None
        or asked.audience
        or asked.priority != "player"
    ):
        raise ProtocolError(
            "unauthorized",
            f"this token may only speak as the player {principal.player!r} to NPCs that exist, "
            "without persona, tier, facts, cue, speaker and audience",
        )


@web.middleware
async def errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Turn errors into JSON with the protocol's code, and log what is a bug."""
    try:
        return await handler(request)  # type: ignore[no-any-return]  # handlers return responses
    except ProtocolError as err:
        return error_response(err.code, err.message, retryable=err.retryable)
    except web.HTTPException as err:
        if err.content_type == "application/json" or err.status < 400:
            raise
        if err.status == 404 and request.headers.get("Upgrade", "").lower() == "websocket":
            return error_response("bad_message", "the WebSocket is at /v1", status=404)
        code = "too_large" if err.status == 413 else "bad_message"
        return error_response(code, err.reason, status=err.status)
    except TimeoutError:
        return error_response("bad_message", "the body did not arrive in time", status=408)
    except Exception:
        log.exception("%s %r failed", request.method, request.path)
        return error_response("internal", "an error in the server; its log says more")


def error_response(
    code: str, message: str, *, retryable: bool = False, status: int | None = None
) -> web.Response:
    """Return an error as JSON."""
    return web.json_response(
        {"error": {"code": code, "message": message, "retryable": retryable}},
        status=status or STATUS.get(code, 400),
    )
