"""The dialogue cache: asked before a prompt is built, filled after a model has spoken.

Replies are kept by situation (see `situation`), several for each. Until a situation has as many as
its tier wants, models are asked and the cache fills; from then on it answers, with another reply
than the one heard last. In front of a store that gateways share lies a memory of this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palaver.cache.counts import CacheCounts
from palaver.cache.fitness import unfit
from palaver.cache.near import Heard, Near
from palaver.cache.renew import Renewer, private
from palaver.cache.shared import SharedShelves
from palaver.cache.shelf import Shelf, Variant, text_id
from palaver.cache.situation import Situation, situation_of
from palaver.cache.unloved import Unloved
from palaver.turn.tags import actions_in, without_tags

if TYPE_CHECKING:
    from palaver.chain.servers import Entry
    from palaver.config.models import Settings
    from palaver.config.tiers import CacheRule
    from palaver.store import Store
    from palaver.turn.model import Turn

__all__ = ["DialogueCache"]

log = logging.getLogger("palaver.cache")

LOOK_AGAIN_S = 30.0
"""After so long the shared store is asked again for what lies in memory, in seconds."""
MAX_SAID = 10_000
"""Turns whose reply can still be disliked."""
ASK_AGAIN_S = 60.0
"""A new reply for a situation is asked for at most this often in the background, in seconds."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What was said in one turn, for as long as it can be disliked."""

    key: str
    variant: str
    rule: CacheRule
    voter: str


class DialogueCache:
    """What models said, for turns that happen again.

    Args:
        settings: The settings: tiers and bounds.
        entries: Configured backends by name.
        store: Where gateways share what they keep.
        clock: The time, in seconds since the epoch.

    Attributes:
        counts: What it did, by tier.
    """

    def __init__(
        self,
        settings: Settings,
        entries: Mapping[str, Entry],
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.counts: dict[str, CacheCounts] = {
            name: CacheCounts() for name, tier in settings.tiers.items() if tier.cache is not None
        }
        self._tiers = frozenset(settings.tiers)
        self._entries = entries
        self._clock = clock
        self._near = Near(settings.limits.cache_bytes)
        self._heard = Heard()
        self._unloved = Unloved()
        self._said: OrderedDict[tuple[str, str], _Said] = OrderedDict()
        self._shared = SharedShelves(store)
        self._renewer: Renewer | None = None
        self._dice = random.Random()
        self._versions: dict[str, str] = {}
        self._models: dict[str, str] = {}

    @property
    def size_bytes(self) -> int:
        """About how much memory the replies take."""
        return self._near.size

    @property
    def situations(self) -> int:
        """How many situations have replies in memory."""
        return len(self._near)

    def start(self, speak: Callable[[Turn], Awaitable[None]]) -> None:
        """Begin to work in the background.

        Args:
            speak: Lets a model answer a turn that nobody hears.
        """
        self._shared.start()
        if self._renewer is None:
            self._renewer = Renewer(speak, self._renewed)

    async def close(self) -> None:
        """Stop working in the background; safe to call twice."""
        renewer, self._renewer = self._renewer, None
        if renewer is not None:
            await renewer.close()
        await self._shared.close()

    async def flush(self) -> None:
        """Wait until what was kept is in the shared store, if there is one that answers."""
        await self._shared.flush()

    async def lookup(self, turn: Turn) -> Variant | None:
        """Return the reply to a turn, or None if a model has to be asked.

        Args:
            turn: The turn; its context is there. Its situation is set.
        """
        rule = turn.tier.cache
        if rule is None:
            return None
        counts = self._counts(turn)
        found = situation_of(turn, rule, self._models_of(turn))
        if isinstance(found, str):
            counts.bypassed += 1
            turn.note(f"not cached: {found}")
            return None
        turn.situation = found
        if turn.given_prompt is None:
            self._empty_if_changed(found)
        shelf = self._near.get(found.key)
        if self._shared.used:
            shelf = await self._fetch(found, shelf, rule)
        variant = None
        if shelf is not None:
            shelf.expire(self._clock())
            if shelf.full(rule.variants):
                variant = self._choose(shelf, turn)
        if shelf is None or variant is None:
            counts.misses += 1
            return None
        counts.hits += 1
        self._note(turn, rule, found.key, variant)
        self._renew_if_old(found.key, shelf, turn)
        return variant

    def keep(self, turn: Turn) -> None:
        """Keep the reply to a turn that is over, if it may be said to others.

        Args:
            turn: The turn, with its result and `raw`.
        """
        if turn.situation is None or turn.tier.cache is None or turn.result.cached:
            return
        counts = self._counts(turn)
        reason = unfit(turn, turn.situation, self._entries, self._near.get(turn.situation.key))
        if reason is None and private(turn):
            reason = "private"
        if reason is not None:
            counts.refused[reason] += 1
            if reason in ("names", "private"):
                # The player heard it all the same, and others need one that is nobody's.
                self._heard.add(turn, text_id(without_tags(turn.raw or "")))
                if self._renewer is not None:
                    self._renewer.fill(turn.situation.key, turn)
            return
        variant, new = self._add(turn, turn.situation, turn.tier.cache)
        if new:
            counts.stored += 1
        else:
            counts.refused["same"] += 1
        self._note(turn, turn.tier.cache, turn.situation.key, variant)

    def withdraw(self, turn: Turn, variant: Variant, *, unfit: bool) -> None:
        """Take back what `lookup` returned for a turn, because it was not shown.

        Args:
            turn: The turn.
            variant: The reply.
            unfit: Whether a check had something against it: then nobody hears it again.
        """
        rule, situation = turn.tier.cache, turn.situation
        if situation is None or rule is None:
            return
        counts = self._counts(turn)
        counts.hits -= 1
        counts.misses += 1
        if unfit:
            self._banish(situation.key, variant.id, rule)

    def _banish(self, key: str, variant: str, rule: CacheRule) -> None:
        shelf = self._near.get(key)
        if shelf is not None and shelf.banish(variant):
            self._near.put(key, shelf)
            self._share(key, shelf, rule)

    def dislike(self, session: str, turn: str, *, for_all: bool) -> None:
        """Say a reply no more to whoever heard it, because they did not like it.

        Args:
            session: Id of the session.
            turn: Id of the turn, which is over.
            for_all: Whether it is taken away from everybody at once; else when several players
                do not like it.
        """
        said = self._said.pop((session, turn), None)
        if said is not None and (self._unloved.vote(said.variant, said.voter) or for_all):
            self._banish(said.key, said.variant, said.rule)

    def _note(self, turn: Turn, rule: CacheRule, key: str, variant: Variant) -> None:
        """Note what was heard."""
        self._heard.add(turn, variant.id)
        if turn.session is not None:
            self._said[turn.session, turn.id] = _Said(key, variant.id, rule, _voter(turn))
            if len(self._said) > MAX_SAID:
                self._said.popitem(last=False)

    def _counts(self, turn: Turn) -> CacheCounts:
        # A plugin may invent a name for each turn.
        name = turn.tier_name if turn.tier_name in self._tiers else "other"
        return self.counts.setdefault(name, CacheCounts())

    def _choose(self, shelf: Shelf, turn: Turn) -> Variant | None:
        unwanted = self._unloved.spared(_voter(turn))
        return shelf.choose(self._heard.before(turn), turn.actions, self._dice, unwanted)

    def _models_of(self, turn: Turn) -> str:
        """Return a name for what else a reply depends on; another model speaks otherwise."""
        known = self._models.get(turn.tier_name)
        if known is None:
            tier = turn.tier
            parts: list[object] = [tier.temperature, tier.max_tokens]
            for name in tier.chain:
                entry = self._entries.get(name)
                if entry is not None and not entry.type.instant:
                    model = getattr(entry.backend.settings, "model", None)
                    parts.append((name, entry.type.name, model))
            known = hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()
            if turn.tier_name in self._tiers:
                self._models[turn.tier_name] = known
        return known

    def _empty_if_changed(self, situation: Situation) -> None:
        """Forget what a persona said before it, or its adapter, was changed."""
        before = self._versions.get(situation.persona)
        if before == situation.version:
            return
        self._versions[situation.persona] = situation.version
        if before is not None:
            keys = self._near.drop_persona(situation.persona)
            self._shared.delete(keys)
            name = situation.persona.partition("\0")[2]
            log.info("%s has changed: replies to %d situations are forgotten", name, len(keys))

    async def _fetch(
        self, situation: Situation, shelf: Shelf | None, rule: CacheRule
    ) -> Shelf | None:
        """Look into the shared store where memory does not have enough, or has it for long."""
        now = asyncio.get_running_loop().time()
        if shelf is not None and now - shelf.looked_at < LOOK_AGAIN_S and shelf.full(rule.variants):
            return shelf
        data = await self._shared.get(situation.key)
        other = None if data is None else Shelf.decode(data, situation.persona)
        if other is None:
            return shelf
        # Another turn may have brought it meanwhile.
        mine = self._near.get(situation.key)
        if mine is None:
            mine = other
        else:
            mine.merge(other, rule.variants)
        mine.looked_at = now
        self._near.put(situation.key, mine)
        return mine

    def _add(self, turn: Turn, situation: Situation, rule: CacheRule) -> tuple[Variant, bool]:
        served, raw = turn.result.served_by, turn.raw or ""
        variant = Variant.of(
            raw,
            model=served.model,
            adapter=served.adapter,
            actions=[name for name in actions_in(raw) if name in turn.actions],
            ttl_s=rule.ttl_s,
            now=self._clock(),
        )
        shelf = self._near.get(situation.key) or Shelf(situation.persona)
        shelf.expire(self._clock())
        new = shelf.add(variant, rule.variants, asked_at=turn.accepted_at)
        self._near.put(situation.key, shelf)
        self._share(situation.key, shelf, rule)
        return variant, new

    def _share(self, key: str, shelf: Shelf, rule: CacheRule) -> None:
        """Let other gateways know of it, soon."""

        def change(stored: bytes | None) -> tuple[bytes, float] | None:
            other = None if stored is None else Shelf.decode(stored, shelf.persona)
            if other is not None:
                shelf.merge(other, rule.variants)
            now = self._clock()
            shelf.expire(now)
            if not shelf.variants and not shelf.gone:
                return None
            until = max((one.until for one in shelf.variants), default=now + rule.ttl_s)
            return shelf.encode(), until - now

        self._shared.change(key, change)

    def _renew_if_old(self, key: str, shelf: Shelf, turn: Turn) -> None:
        now = asyncio.get_running_loop().time()
        if self._renewer is None or now - shelf.asked_at < ASK_AGAIN_S:
            return
        if any(one.old_from <= self._clock() for one in shelf.variants):
            shelf.asked_at = now
            self._renewer.ask(key, turn)

    def _renewed(self, turn: Turn) -> bool:
        """Keep a reply that was made in the background; returns whether it may be said."""
        if turn.situation is None or turn.tier.cache is None:
            return False
        counts, shelf = self._counts(turn), self._near.get(turn.situation.key)
        reason = unfit(turn, turn.situation, self._entries, shelf)
        if reason is not None:
            counts.refused[reason] += 1
            return False
        old = (
            []
            if shelf is None
            else [one for one in shelf.variants if one.old_from <= self._clock()]
        )
        if shelf is not None and old:
            # Its successor takes the place of the oldest, even where there was room for more.
            oldest = min(old, key=lambda one: one.until)
            shelf.variants = [one for one in shelf.variants if one is not oldest]
        _, new = self._add(turn, turn.situation, turn.tier.cache)
        if old:
            counts.renewed += 1
        elif new:
            counts.stored += 1
        else:
            counts.refused["same"] += 1
        return True


def _voter(turn: Turn) -> str:
    """Return who hears a reply."""
    return f"{turn.game}\0{turn.counterpart_key or turn.npc.id}"
