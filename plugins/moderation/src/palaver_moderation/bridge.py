"""The hooks of a turn: what is looked at, and what is done about it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from palaver.chain.checks import Checker
from palaver.hookspecs import hookimpl
from palaver.prompt.sections import Place, Prompt, Section
from palaver_moderation.config import ModerationSettings
from palaver_moderation.listen import Listener
from palaver_moderation.lists import load_words
from palaver_moderation.npc import Stopper, checker
from palaver_moderation.remote import Remote
from palaver_moderation.rules import Hit, RuleBook

if TYPE_CHECKING:
    from aiohttp import web

    from palaver.gateway import Gateway
    from palaver.turn.events import AsyncFilter
    from palaver.turn.model import Turn, TurnResult

__all__ = ["ModerationBridge"]

log = logging.getLogger("palaver.moderation")

CARED_FOR = "self_harm"


class ModerationBridge:
    """Moderation of one gateway.

    Attributes:
        name: `moderation`.
        counts: How often what was done, by who spoke (`player`, `npc`), category and action.
        remote: The moderation service, or None.
    """

    name = "moderation"

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.remote: Remote | None = None
        self.settings = ModerationSettings()
        self._rules: RuleBook | None = None
        self._instant: frozenset[str] = frozenset()
        self._listener: Listener | None = None

    def routes(self, gateway: Gateway) -> Sequence[web.AbstractRouteDef]:
        """Return no routes."""
        return ()

    async def start(self, gateway: Gateway) -> None:
        """Read settings and lists."""
        settings = ModerationSettings.model_validate(gateway.settings.plugins.of(self.name))
        words = load_words(settings, gateway.world.folder, trusted=gateway.world.trusted)
        for problem in words.problems:
            log.warning("%s", problem)
        known = {one.category for one in words.lists} | set(settings.patterns)
        self._tell_unknown(settings, known)
        self.settings, self._rules = settings, RuleBook(settings, words)
        # Compiled now, for nobody should wait for that in the middle of a talk.
        for lang in {"en", *(one.front.lang for one in gateway.world.personas.values())}:
            self._rules.of(lang)
        self._instant = frozenset(
            name for name, entry in gateway.backends.items() if entry.type.instant
        )
        if settings.remote is not None:
            limit_s = min(settings.remote.timeout_ms, gateway.settings.limits.hook_ms * 0.9) / 1000
            self.remote = Remote(settings.remote, limit_s)
        asked = self.remote if settings.remote is not None and settings.remote.players else None
        self._listener = Listener(settings, asked, self._tell)

    async def close(self) -> None:
        """Close the connections to the service."""
        if self.remote is not None:
            await self.remote.close()

    @hookimpl(tryfirst=True)
    def palaver_turn_received(self, turn: Turn) -> Awaitable[None] | None:
        """Look at what a player says, before any other plugin does."""
        if self._rules is None or self._listener is None or turn.tier.safety == "off":
            return None
        return self._listener.listen(turn, self._rules.of(turn.lang))

    @hookimpl
    def palaver_prompt(self, turn: Turn, prompt: Prompt) -> None:
        """Ask the model for care where a player may be in distress."""
        listener = self._listener
        if self.settings.care and listener is not None and CARED_FOR in listener.noted(turn):
            prompt.add(
                Section("care", "system", self.settings.care, 100, "moderation", Place.MOMENT)
            )

    @hookimpl
    def palaver_route(self, turn: Turn, chain: Sequence[str]) -> Sequence[str] | None:
        """Leave a strict tier to authored lines while nobody can check what a model says."""
        remote = self.remote
        if turn.tier.safety != "strict" or remote is None or not remote.settings.npcs:
            return None
        if remote.settings.npcs_without == "open" or remote.answers:
            return None
        return [name for name in chain if name in self._instant]

    @hookimpl
    def palaver_check(self, turn: Turn) -> Checker | None:
        """Look at what a model says as it speaks."""
        if self._rules is None or turn.tier.safety != "normal":
            return None
        return checker(self._rules.of(turn.lang), self._objects(turn))

    @hookimpl(trylast=True)
    def palaver_filter(self, turn: Turn) -> AsyncFilter | None:
        """Hold every sentence of a strict tier until it is checked, after all other filters."""
        if self._rules is None or turn.tier.safety != "strict" or turn.authored:
            return None
        remote = self.remote
        if remote is not None and not remote.settings.npcs:
            remote = None
        return Stopper(self._rules.of(turn.lang), self._objects(turn), remote)

    @hookimpl
    def palaver_turn_finished(self, turn: Turn, result: TurnResult) -> None:
        """Forget what was noted of a turn."""
        if self._listener is not None:
            self._listener.forget(turn)

    def _objects(self, turn: Turn) -> Callable[[Iterable[str], Sequence[Hit]], str | None]:
        """Return what says whether to stop an NPC, and why."""

        def objects(categories: Iterable[str], hits: Sequence[Hit]) -> str | None:
            done = {name: self.settings.npc_action(name) for name in categories}
            self._tell(turn, "npc", done, hits)
            stopped = sorted(name for name, action in done.items() if action == "stop")
            return f"moderation: {', '.join(stopped)}" if stopped else None

        return objects

    def _tell(self, turn: Turn, who: str, done: Mapping[str, str], hits: Sequence[Hit]) -> None:
        """Count, note and log what was found; the words only where the operator asks."""
        for category, action in done.items():
            self.counts[who, category, action] += 1
        what = ", ".join(f"{category} ({action})" for category, action in done.items())
        turn.note(f"moderation: {who}: {what}")
        if self.settings.log_text:
            words = ", ".join(repr(hit.text) for hit in hits)
            log.info("turn %s with %s: %s: %s: %s", turn.id, turn.npc.id, who, what, words)
        else:
            log.info("turn %s with %s: %s: %s", turn.id, turn.npc.id, who, what)

    def _tell_unknown(self, settings: ModerationSettings, known: set[str]) -> None:
        """Tell of actions for categories that nothing belongs to: most likely a typo."""
        known = known | set(ModerationSettings().player) | {"minors", "injection", "personal"}
        if settings.remote is not None:
            known |= set(settings.remote.categories.values())
        for name in sorted((set(settings.player) | set(settings.npc)) - known):
            log.warning(
                "nothing belongs to the category %r; add moderation/%s.txt to the world, or mend "
                "the name; there are: %s",
                name,
                name,
                ", ".join(sorted(known)),
            )
