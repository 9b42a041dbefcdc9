"""The pipeline: one turn from acceptance to `turn.done`, whatever happens on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from palaver.cache.notes import keep
from palaver.chain.hedge import HedgeBudget
from palaver.chain.runner import ChainRunner
from palaver.chain.shared import Chain
from palaver.errors import PalaverError
from palaver.hookcalls import HookCall, failed, resolve
from palaver.turn.confirm import offered
from palaver.turn.context import build_context, build_variables
from palaver.turn.deliver import Reply
from palaver.turn.done import done_message
from palaver.turn.filters import FilterChain
from palaver.turn.meeting import meet
from palaver.turn.outgoing import TurnSink
from palaver.turn.pace import Pace
from palaver.turn.prompt import build_prompt
from palaver.turn.receive import receive

if TYPE_CHECKING:
    import pluggy

    from palaver.cache import DialogueCache, Variant
    from palaver.chain.servers import Entry
    from palaver.config.models import Settings
    from palaver.game import Game
    from palaver.memory import Memory
    from palaver.spend.governor import Governor
    from palaver.turn.events import Event
    from palaver.turn.model import Turn

__all__ = ["Pipeline"]

log = logging.getLogger("palaver.turn")

_FILTER = ("feed", "flush")
AUTHORED_S = 0.02
"""Time for one call of a filter that waits, for an authored line, in seconds."""


class Pipeline:
    """The steps of a turn with everything they need, resolved once.

    Args:
        manager: The plugins.
        settings: The settings.
        entries: Configured backends by name.
        memory: Where exchanges are kept.
        governor: Keeps what is spent below the ceilings; None lets everything be spent.
        cache: What models said before, or None.
    """

    def __init__(
        self,
        manager: pluggy.PluginManager,
        settings: Settings,
        entries: Mapping[str, Entry],
        memory: Memory,
        *,
        governor: Governor | None = None,
        cache: DialogueCache | None = None,
    ) -> None:
        self._settings = settings
        self._entries = entries
        self._memory = memory
        self.shared = Chain(
            entries,
            HedgeBudget(settings.limits.hedge_share),
            resolve(manager, "palaver_check"),
            governor,
        )
        self._cache = cache
        self._pace = Pace(settings.limits.delta_ms / 1000)
        self._hook_s = settings.limits.hook_ms / 1000
        self._received = resolve(manager, "palaver_turn_received")
        # The core's own implementation does not need them.
        self._variables_first = len(self._received) > 1
        self._context = resolve(manager, "palaver_build_context")
        self._prompt = resolve(manager, "palaver_prompt")
        self._route = tuple(reversed(resolve(manager, "palaver_route")))
        self._filter = resolve(manager, "palaver_filter")

    async def run(self, turn: Turn, game: Game, sink: TurnSink, *, begun: float) -> None:
        """Run a turn to its end; sends everything but `turn.accepted`, and `turn.done` last.

        Args:
            turn: The turn.
            game: Its game.
            sink: Where its messages go.
            begun: `loop.time()` when its place in the order came; its limits count from there.

        Raises:
            asyncio.CancelledError: It was cancelled; `turn.done` says so.
        """
        # Not the loop's time: uvloop's stands still within one round and counts milliseconds.
        clock = perf_counter
        reply = Reply(turn, sink, clock, self._pace)
        if turn.actions and "action" not in sink.capabilities:
            turn.actions = offered(turn.actions)
        runner = self._runner(turn, reply)
        try:
            await self._steps(turn, game, runner, begun)
        except asyncio.CancelledError:
            turn.result.status = "cancelled"
            raise
        except Exception:
            log.exception("turn %s failed; its persona's last words are spoken", turn.id)
            turn.note("a bug in the pipeline")
            await self._last_resort(turn, reply)
        finally:
            result = turn.result
            reply.finish()
            result.text = reply.text
            result.total_ms = (clock() - turn.accepted_at) * 1000
            if reply.first_at is not None:
                result.ttft_ms = (reply.first_at - turn.accepted_at) * 1000
            sink.end(*done_message(turn, result))
            self._keep(turn)
            await runner.let_go()

    async def rehearse(self, turn: Turn) -> None:
        """Let models, and nothing else, answer a turn that nobody hears; see `turn.raw`.

        Args:
            turn: The turn, with its context.
        """
        reply = Reply(turn, _Nobody(), perf_counter)
        runner = self._runner(turn, reply)
        now = asyncio.get_running_loop().time()
        turn.begun_at = now
        turn.first_text_at = turn.ends_at = now + turn.tier.total_ms / 1000
        try:
            build_prompt(turn, self._prompt)
            names = [name for name in self._chain(turn) if not self._is_instant(name)]
            await runner.run(names)
        finally:
            reply.finish()
            turn.result.text = reply.text
            await runner.let_go()

    def never_ran(self, turn: Turn, sink: TurnSink) -> None:
        """Send `turn.done` for a turn that was cancelled while it waited for its place."""
        turn.result.status = "cancelled"
        turn.result.total_ms = (perf_counter() - turn.accepted_at) * 1000
        sink.end(*done_message(turn, turn.result))

    async def _steps(self, turn: Turn, game: Game, runner: ChainRunner, begun: float) -> None:
        # The first hook wants the facts too; intent and mood in them are still to come.
        if self._variables_first:
            turn.variables = build_variables(turn, game)
        usual = turn.tier_name
        await receive(turn, self._received, self._hook_s)
        if turn.tier_name not in self._settings.tiers:
            turn.note(f"a plugin chose the tier {turn.tier_name!r}, which does not exist")
            turn.tier_name = usual
        self._set_limits(turn, begun)
        if turn.refused is not None:
            turn.variables = build_variables(turn, game)
            await runner.last_words(f"refused: {turn.refused}")
            return
        await build_context(turn, game, self._memory, self._context, self._hook_s)
        # A tier that a plugin chose for this turn is what it wants, first meeting or not.
        if turn.tier_name == usual and await meet(turn, self._settings.tiers, self._memory):
            self._set_limits(turn, begun)
        if self._cache is not None and (known := await self._look_up(turn)) is not None:
            came_to = await runner.repeat(known.raw, known.model, known.adapter)
            if came_to == "said":
                return
            if came_to != "refused":
                turn.note("the cached reply could not be shown")
                self._cache.withdraw(turn, known, unfit=came_to == "objected")
        try:
            build_prompt(turn, self._prompt)
        except PalaverError as err:
            # Without a prompt no model can be asked, but authored lines need none.
            log.error("turn %s has no prompt: %s", turn.id, err)
            turn.note(f"no prompt: {err}")
            names = [name for name in turn.tier.chain if self._is_instant(name)]
        else:
            names = self._chain(turn)
        await runner.run(names)

    async def _look_up(self, turn: Turn) -> Variant | None:
        assert self._cache is not None
        try:
            return await self._cache.lookup(turn)
        except Exception:
            log.exception("the dialogue cache has a bug; turn %s goes on without it", turn.id)
            return None

    def _keep(self, turn: Turn) -> None:
        if self._cache is None:
            return
        try:
            keep(self._cache, turn)
        except Exception:
            log.exception("the dialogue cache has a bug; the reply of %s is not kept", turn.id)

    def _set_limits(self, turn: Turn, begun: float) -> None:
        # Somebody who runs turns of their own may have a tier that the settings do not know.
        turn.tier = self._settings.tiers.get(turn.tier_name, turn.tier)
        first_text_ms = turn.tier.first_text_ms
        if turn.first_text_ms is not None:
            first_text_ms = min(first_text_ms, turn.first_text_ms)
        turn.begun_at = begun
        turn.first_text_at = begun + first_text_ms / 1000
        turn.ends_at = begun + max(turn.tier.total_ms, first_text_ms) / 1000

    def _chain(self, turn: Turn) -> list[str]:
        names = [name for name in turn.tier.chain if name in self._entries]
        for call in self._route:
            try:
                chosen = call(turn=turn, chain=tuple(names))
                if chosen is not None:
                    if isinstance(chosen, str) or not all(isinstance(one, str) for one in chosen):
                        raise TypeError(f"it returned {chosen!r}, not a list of names")
                    turn.note(f"routed by {call.plugin}: {', '.join(chosen)}")
                    return [name for name in chosen if name in self._entries]
            except Exception:
                failed(call, turn.note)
        return names

    def _is_instant(self, name: str) -> bool:
        entry = self._entries.get(name)
        return entry is not None and entry.type.instant

    def _runner(self, turn: Turn, reply: Reply) -> ChainRunner:
        def make(out: Callable[[Event], None], say: Callable[[str], None]) -> FilterChain:
            filters = []
            for call in self._filter:
                made = _guarded(call, turn)
                if made is not None:
                    filters.append((call.plugin, made))
            # Authored lines come in the last moment: whoever takes longer has no say in them.
            limit_s = min(self._hook_s, AUTHORED_S) if turn.authored else self._hook_s
            return FilterChain(turn, filters, out, limit_s, say)

        return ChainRunner(self.shared, turn, reply, make)

    async def _last_resort(self, turn: Turn, reply: Reply) -> None:
        """Speak after a bug of our own: without plugins, which may be its cause."""
        if reply.over:
            return
        if reply.length:
            # The player has read words already; they end as those of a backend that died.
            reply.close_sentence()
            turn.result.status = "truncated"
            return

        def plain(out: Callable[[Event], None], say: Callable[[str], None]) -> FilterChain:
            return FilterChain(turn, (), out, self._hook_s, say)

        runner = ChainRunner(self.shared, turn, reply, plain)
        await runner.last_words("an error in the server")


class _Nobody:
    """Takes the messages of a turn that nobody hears."""

    capabilities: frozenset[str] = frozenset()

    def emit(self, head: str, tail: str) -> None:
        """Drop the message."""

    end = emit


def _guarded(call: HookCall, turn: Turn) -> Any:
    try:
        made = call(turn=turn)
        if made is not None and not all(callable(getattr(made, name, None)) for name in _FILTER):
            raise TypeError(f"it returned {made!r}, which has no `feed` and `flush`")
    except Exception:
        failed(call, turn.note)
        return None
    return made
