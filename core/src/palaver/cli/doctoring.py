"""How `palaver doctor` examines backends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from palaver.chain.backend import Finish, GenerateRequest, Sampling
from palaver.cli.output import console, milliseconds, print_json, safe, table
from palaver.cli.preview import Asked as TurnAsked
from palaver.cli.preview import NoMemory, make_turn
from palaver.cli.serving import health_of
from palaver.errors import BackendError, ConfigError
from palaver.gateway import Gateway
from palaver.hints import did_you_mean
from palaver.prompt.trim import budget_chars, trim
from palaver.startup import prepare

if TYPE_CHECKING:
    from palaver.chain.servers import Entry, Server
    from palaver.turn.model import Turn

__all__ = ["Asked", "Finding", "examine"]

MODELS_S = 10.0
"""Time to list models, in seconds."""
START_S = 10.0
"""Time for a backend to get ready, in seconds."""
MAX_MODELS = 12
"""Models that are named; some providers have hundreds."""
MAX_TOKENS = 40
REPLY_CHARS = 2_000
"""After so many characters a backend has shown that it can speak."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to test.

    Attributes:
        persona: Whom to let speak, or None for the first.
        backend: The only backend to test, or None for all.
        text: What is said.
        limit_s: Longest wait for a reply, in seconds.
    """

    persona: str | None
    backend: str | None
    text: str
    limit_s: float


@dataclass(slots=True)
class Finding:
    """How one backend is.

    Attributes:
        backend: Its name.
        type: Its type.
        ok: Whether it answered with words.
        health: What it said of itself.
        models: What it can serve.
        first_token_ms: When the first words were there, or None.
        total_ms: When it had ended, or None.
        reply: What it said.
        model: The model that spoke, or None.
        adapter: The adapter that was used, or None.
        problem: What went wrong, or None.
    """

    backend: str
    type: str
    ok: bool = False
    health: str = ""
    models: list[str] = field(default_factory=list)
    first_token_ms: float | None = None
    total_ms: float | None = None
    reply: str = ""
    model: str | None = None
    adapter: str | None = None
    problem: str | None = None


async def examine(
    world: str | None, settings: Mapping[str, Any], asked: Asked, *, as_json: bool
) -> bool:
    """Test the backends of a world and print what was found.

    Args:
        world: A folder, the name of an example, or None.
        settings: Settings by dotted key.
        asked: What to test.
        as_json: Whether a program reads it.

    Returns:
        Whether all of them answered.

    Raises:
        PalaverError: The world, the persona or a setting cannot be used.
    """
    parts = await prepare(world, overrides=settings)
    parts.memory = NoMemory()
    gateway = Gateway(parts)
    names = list(gateway.backends)
    if asked.backend is not None:
        if asked.backend not in gateway.backends:
            hint = did_you_mean(asked.backend, names)
            raise ConfigError(f"there is no backend {asked.backend!r}{hint}")
        names = [asked.backend]
    persona = asked.persona or min(gateway.world.personas, default="")
    turn = await make_turn(gateway, TurnAsked(persona, asked.text))
    findings: list[Finding] = []
    # One after another: they may share one graphics card, and the times are to be theirs alone.
    for name in names:
        if as_json or not console(err=True).is_terminal:
            findings.append(await _examine(gateway.backends[name], turn, asked.limit_s))
        else:
            with console(err=True).status(f"asking {safe(name)} …"):
                findings.append(await _examine(gateway.backends[name], turn, asked.limit_s))
    notes = list(parts.notes)
    left_out = any("left out" in note for note in notes)
    if as_json:
        print_json({"backends": [asdict(one) for one in findings], "notes": notes})
    else:
        _print(findings, notes, persona)
    return all(one.ok for one in findings) and bool(findings) and not left_out


async def _examine(entry: Entry, turn: Turn, limit_s: float) -> Finding:
    finding = Finding(entry.backend.name, entry.type.name)
    try:
        async with asyncio.timeout(START_S):
            await entry.backend.start()
    except TimeoutError:
        pass  # It is asked all the same, as a gateway does.
    except Exception as err:
        finding.problem = _words(err)
    try:
        health = await health_of(entry)
        finding.health = health.detail
        await _list_models(entry, finding)
        for server in entry.servers:
            await _generate(server, entry, turn, finding, limit_s)
            if not finding.ok:
                break
        if not health.ok and finding.ok:
            finding.ok = False
            finding.problem = health.detail
    finally:
        try:
            async with asyncio.timeout(START_S):
                await entry.backend.close()
        except Exception as err:
            finding.problem = finding.problem or f"does not close: {_words(err)}"
    return finding


async def _list_models(entry: Entry, finding: Finding) -> None:
    try:
        async with asyncio.timeout(MODELS_S):
            finding.models = [model.name for model in await entry.backend.models()]
    except Exception as err:
        finding.problem = f"lists no models: {_words(err)}"


async def _generate(
    server: Server, entry: Entry, turn: Turn, finding: Finding, limit_s: float
) -> None:
    """Ask one server of a backend; the finding tells of the last one that was asked."""
    finding.ok, finding.reply, finding.first_token_ms = False, "", None
    loop = asyncio.get_running_loop()
    several = f"{server.name}: " if len(entry.servers) > 1 else ""
    request = _request(entry, turn, loop.time() + limit_s)
    # Not the loop's own time, which stands still within one round of it.
    began = perf_counter()
    try:
        async with asyncio.timeout(limit_s), aclosing(server.replica.generate(request)) as stream:
            async for piece in stream:
                if isinstance(piece, Finish):
                    finding.model, finding.adapter = piece.model, piece.adapter
                    continue
                if finding.first_token_ms is None:
                    finding.first_token_ms = (perf_counter() - began) * 1000
                finding.reply += piece
                if len(finding.reply) > REPLY_CHARS:
                    break
    except TimeoutError as err:
        problem = err.reason if isinstance(err, BackendError) else f"not done within {limit_s:g} s"
        finding.problem = several + problem
        return
    except Exception as err:
        finding.problem = several + _words(err)
        return
    finding.total_ms = (perf_counter() - began) * 1000
    finding.ok = bool(finding.reply.strip())
    if not finding.ok:
        finding.problem = f"{several}answered nothing"


def _request(entry: Entry, turn: Turn, deadline: float) -> GenerateRequest:
    assert turn.prompt is not None
    prompt = turn.prompt
    settings = entry.backend.settings
    if settings.context_tokens is not None:
        budget = budget_chars(settings.context_tokens, MAX_TOKENS, settings.chars_per_token)
        prompt, _ = trim(prompt, budget)
    sampling = turn.persona.front.sampling
    return GenerateRequest(
        turn=turn,
        messages=() if entry.type.instant else prompt.messages(),
        sampling=Sampling(sampling.temperature, sampling.top_p, MAX_TOKENS, tuple(sampling.stop)),
        adapter=turn.persona.front.adapter,
        deadline=deadline,
    )


def _words(err: Exception) -> str:
    if isinstance(err, BackendError):
        return err.reason
    return f"{type(err).__name__}: {err}" if str(err) else type(err).__name__


def _print(findings: Sequence[Finding], notes: Sequence[str], persona: str) -> None:
    out = console()
    rows = table("backend", "type", "", "first words", "in all", "what it says")
    for one in findings:
        name = f" {one.adapter or one.model}" if one.adapter or one.model else ""
        reply = " ".join(one.reply.split())
        says = f"“{reply[:80]}{'…' if len(reply) > 80 else ''}”" if one.reply else ""
        rows.add_row(
            f"[bold]{safe(one.backend)}[/]",
            f"{safe(one.type)}[dim]{safe(name)}[/]",
            "[green]ok[/]" if one.ok else "[red]fails[/]",
            "-" if one.first_token_ms is None else milliseconds(one.first_token_ms),
            "-" if one.total_ms is None else milliseconds(one.total_ms),
            safe(says) if one.problem is None else f"[red]{safe(one.problem)}[/]",
        )
    out.print(rows)
    out.print()
    for one in findings:
        models = f"; serves {', '.join(one.models[:MAX_MODELS])}" if one.models else ""
        if len(one.models) > MAX_MODELS:
            models += f" and {len(one.models) - MAX_MODELS} more"
        out.print(
            f"[bold]{safe(one.backend)}[/] [dim]{safe(one.health)}{safe(models)}[/]",
            soft_wrap=True,
        )
    if not findings:
        out.print("[yellow]No backend is configured, and no plugin brings one.[/]")
    for note in notes:
        out.print(f"[yellow]{safe(note)}[/]", soft_wrap=True)
    out.print(f"[dim]They were asked to speak as {safe(persona)}.[/]", soft_wrap=True)
