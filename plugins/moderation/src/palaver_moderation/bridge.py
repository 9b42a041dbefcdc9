"""The hooks of a turn: what is looked at, and what is done about it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from palaver.chain.checks import Checker
from palaver.hookspecs import hookimpl
from palaver.prompt.sections import Message, Place, Prompt, Section
from palaver_moderation.config import ModerationSettings
from palaver_moderation.lists import load_words
from palaver_moderation.npc import Stopper, checker
from palaver_moderation.remote import Remote
from palaver_moderation.rules import Hit, RuleBook

if TYPE_CHECKING:
    from aiohttp import web

    from palaver.gateway import Gateway
    from palaver.turn.events import AsyncFilter
    from palaver.turn.model import Turn, TurnResult

__all__ = ["ModerationBridge", "masked"]

log = logging.getLogger("palaver.moderation")

CARED_FOR = "self_harm"
MAX_NOTED = 10_000
"""Turns under way whose categories are known."""


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
        self._noted: dict[int, tuple[str, ...]] = {}

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
        self._instant = frozenset(
            name for name, entry in gateway.backends.items() if entry.type.instant
        )
        if settings.remote is not None:
            limit_s = min(settings.remote.timeout_ms, gateway.settings.limits.hook_ms * 0.9) / 1000
            self.remote = Remote(settings.remote, limit_s)

    async def close(self) -> None:
        """Close the connections to the service."""
        if self.remote is not None:
            await self.remote.close()

    @hookimpl(tryfirst=True)
    def palaver_turn_received(self, turn: Turn) -> Awaitable[None] | None:
        """Look at what a player says, before any other plugin does."""
        if self._rules is None or turn.tier.safety == "off" or not turn.text:
            return None
        hits = self._rules.of(turn.lang).find(turn.text)
        if hits:
            self._found(turn, hits)
        if turn.given_prompt is not None or turn.given_history is not None:
            self._mask_given(turn)
        remote = self.remote
        if turn.refused is None and remote is not None and remote.settings.players:
            return self._ask(turn, remote)
        return None

    @hookimpl
    def palaver_prompt(self, turn: Turn, prompt: Prompt) -> None:
        """Ask the model for care where a player may be in distress."""
        if self.settings.care and CARED_FOR in self._noted.get(id(turn), ()):
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
        self._noted.pop(id(turn), None)

    def _found(self, turn: Turn, hits: Sequence[Hit]) -> None:
        """Do what the settings say about what a player said."""
        done = {hit.category: self.settings.player_action(hit.category) for hit in hits}
        self._tell(turn, "player", done, hits)
        if len(self._noted) < MAX_NOTED:
            self._noted[id(turn)] = (*self._noted.get(id(turn), ()), *done)
        refused = sorted(name for name, action in done.items() if action == "refuse")
        if refused:
            turn.refuse(f"moderation: {', '.join(refused)}")
            return
        wanted = [hit for hit in hits if done[hit.category] == "mask"]
        if wanted:
            turn.text = masked(turn.text, wanted, self.settings.mask)

    def _mask_given(self, turn: Turn) -> None:
        """Mask what a client says was said before, too: it sends the whole talk each time."""
        if turn.given_history is not None:
            turn.given_history = [
                replace(one, said=self._masked(turn, one.said)) for one in turn.given_history
            ]
        if turn.given_prompt is not None:
            turn.given_prompt = [
                Message(one.role, self._masked(turn, one.content)) if one.role == "user" else one
                for one in turn.given_prompt
            ]

    def _masked(self, turn: Turn, text: str) -> str:
        assert self._rules is not None
        hits = [
            hit
            for hit in self._rules.of(turn.lang).find(text)
            if self.settings.player_action(hit.category) != "allow"
        ]
        return masked(text, hits, self.settings.mask) if hits else text

    async def _ask(self, turn: Turn, remote: Remote) -> None:
        """Ask the service about what a player said."""
        found = await remote.categories(turn.text)
        if found is None:
            turn.note("moderation: the service did not answer")
            if remote.settings.players_without == "closed":
                self.counts["player", "unknown", "refuse"] += 1
                turn.refuse("moderation: the service did not answer")
        elif found:
            # It says nothing of where; what is masked is all of it.
            text = turn.text
            self._found(turn, [Hit(name, 0, len(text), text, "service") for name in sorted(found)])

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


def masked(text: str, hits: Iterable[Hit], mask: str) -> str:
    """Return a text with the mask in place of what was found.

    Args:
        text: The text.
        hits: What was found, in order.
        mask: What takes its place.
    """
    parts, at = [], 0
    for hit in sorted(hits, key=lambda hit: hit.start):
        if hit.start >= at:
            parts += [text[at : hit.start], mask]
        at = max(at, hit.end)
    return "".join([*parts, text[at:]])
