"""The replies that are kept for one situation, and how they are written to a shared store."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import msgspec

from palaver.turn.tags import without_tags

__all__ = ["MAX_RAW_CHARS", "OLD_SHARE", "Shelf", "Variant", "text_id"]

MAX_RAW_CHARS = 8_000
"""Longest reply that is kept, tags and all."""
JITTER = 0.2
"""Replies that were kept together must not end together, and be asked for again all at once."""
OLD_SHARE = 0.25
"""A reply in the last quarter of its life is old: it is still said, and another one is made."""
SAME_AGAIN = 2
"""After so many replies that were there already, the model is taken to have no others."""
MAX_GONE = 32
"""Replies to one situation that are remembered as unwanted."""
FORMAT = 1
_OVERHEAD_BYTES = 400
"""What a shelf and its entry need besides its texts, about."""


class Variant(msgspec.Struct, frozen=True):
    """One reply.

    Attributes:
        id: Hash of its text as it is shown.
        raw: What the model wrote, tags and all.
        model: The model that wrote it, or None.
        adapter: The adapter that was used, or None.
        actions: Actions in it, by name.
        until: When it is forgotten, in seconds since the epoch.
        old_from: When it is old, likewise.
    """

    id: str
    raw: str
    model: str | None
    adapter: str | None
    actions: tuple[str, ...]
    until: float
    old_from: float

    @classmethod
    def of(
        cls,
        raw: str,
        *,
        model: str | None,
        adapter: str | None,
        actions: Iterable[str],
        ttl_s: float,
        now: float,
    ) -> Variant:
        """Return the variant for a reply that was given now."""
        # Not for secrets: it only spreads the ends.
        life_s = ttl_s * (1 - JITTER * random.random())
        return cls(
            text_id(without_tags(raw)),
            raw,
            model,
            adapter,
            tuple(actions),
            now + life_s,
            now + life_s * (1 - OLD_SHARE),
        )


class _Stored(msgspec.Struct):
    format: int
    same: int
    variants: list[Variant]
    gone: list[str] = []


@dataclass(slots=True)
class Shelf:
    """The replies for one situation.

    Attributes:
        persona: What a change of version empties.
        variants: The replies, oldest first.
        same: How many more replies were the same as one that was there.
        gone: Ids of replies that nobody shall hear again.
        looked_at: When the shared store was last asked for it, on the loop's clock.
        asked_at: When a new one was last asked for in the background, likewise.
        added_at: When a reply was last added here, on `time.perf_counter`.
    """

    persona: str
    variants: list[Variant] = field(default_factory=list)
    same: int = 0
    gone: list[str] = field(default_factory=list)
    looked_at: float = 0.0
    asked_at: float = -1e9
    added_at: float = 0.0

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return (
            _OVERHEAD_BYTES
            + 70 * len(self.gone)
            + sum(300 + 2 * len(one.raw) for one in self.variants)
        )

    def expire(self, now: float) -> None:
        """Forget replies whose time is over."""
        if any(one.until <= now for one in self.variants):
            self.variants = [one for one in self.variants if one.until > now]
            # A model may have found other words since.
            self.same = 0

    def full(self, wanted: int) -> bool:
        """Return whether there are as many as wanted, or as the model has."""
        return len(self.variants) >= wanted or bool(self.variants and self.same >= SAME_AGAIN)

    def add(self, variant: Variant, wanted: int, *, asked_at: float) -> bool:
        """Add a reply, in place of the oldest where there are enough; returns whether it is new.

        Args:
            variant: The reply.
            wanted: How many are kept.
            asked_at: When its turn began, on `time.perf_counter`.
        """
        left = [one for one in self.variants if one.id != variant.id]
        new = len(left) == len(self.variants)
        if new:
            self.same = 0
        elif asked_at > self.added_at:
            # Turns that ran beside each other may have shared one reply; that tells nothing.
            self.same += 1
        self.variants = [*left, variant][-wanted:]
        self.added_at = perf_counter()
        return new

    def merge(self, other: Shelf, wanted: int) -> None:
        """Take in what another gateway kept; the youngest stay."""
        known = {one.id: one for one in self.variants}
        for one in other.variants:
            mine = known.get(one.id)
            if mine is None or mine.until < one.until:
                known[one.id] = one
        self.same = max(self.same, other.same)
        self.gone = list(dict.fromkeys((*other.gone, *self.gone)))[-MAX_GONE:]
        wished = (one for one in known.values() if one.id not in self.gone)
        self.variants = sorted(wished, key=lambda one: one.until)[-wanted:]

    def banish(self, unloved: str) -> bool:
        """Let nobody hear a reply again; returns whether it was there."""
        left = [one for one in self.variants if one.id != unloved]
        was = len(left) < len(self.variants)
        if was:
            self.variants, self.same = left, 0
            # It is kept: other gateways have the reply too, and models repeat themselves.
            self.gone = [*self.gone, unloved][-MAX_GONE:]
        return was

    def choose(
        self,
        heard: Sequence[str],
        actions: Iterable[str],
        dice: random.Random,
        unwanted: Collection[str] = (),
    ) -> Variant | None:
        """Return the reply to say now, or None if each was just heard or cannot be acted out.

        Args:
            heard: Ids of what was heard before, the last one at the end.
            actions: What the engine can carry out.
            dice: Chooses among those that were not heard.
            unwanted: Ids of what the player does not want to hear again.
        """
        known = frozenset(actions)
        sayable = [
            one for one in self.variants if known.issuperset(one.actions) and one.id not in unwanted
        ]
        if heard:
            sayable = [one for one in sayable if one.id != heard[-1]]
        fresh = [one for one in sayable if one.id not in heard]
        if fresh:
            return dice.choice(fresh)
        return min(sayable, key=lambda one: _last(heard, one.id), default=None)

    def encode(self) -> bytes:
        """Return it as it is written to a shared store."""
        return _encoder.encode(_Stored(FORMAT, self.same, self.variants, self.gone))

    @classmethod
    def decode(cls, data: bytes, persona: str) -> Shelf | None:
        """Return what another gateway wrote, or None where it cannot be read."""
        try:
            stored = _decoder.decode(data)
        except msgspec.MsgspecError:
            return None
        if stored.format != FORMAT:
            return None
        sane = [one for one in stored.variants if one.raw and len(one.raw) <= MAX_RAW_CHARS]
        return cls(persona, sane, max(0, stored.same), stored.gone[-MAX_GONE:])


def text_id(shown: str) -> str:
    """Return the id of a reply by its text as it is shown."""
    return hashlib.blake2b(
        shown.strip().encode("utf-8", "surrogatepass"), digest_size=8
    ).hexdigest()


def _last(heard: Sequence[str], one: str) -> int:
    return max(index for index, other in enumerate(heard) if other == one)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Stored)
