"""What a player says, and what a client says was said before; long texts are cut into slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from palaver.prompt.sections import Message
from palaver.turn.given import MAX_SAID_CHARS, given_exchanges

if TYPE_CHECKING:
    from palaver.turn.model import Turn
    from palaver_moderation.rules import Hit, Rules

__all__ = ["OVERLAP", "SLICE", "Said", "in_slices", "masked", "pieces"]

SLICE = 2_000
"""Characters that are searched at once: some tenths of a millisecond, at worst two."""
OVERLAP = 500
"""Characters that are searched again: what begins before a cut is whole with them."""
MAX_ASKED_CHARS = 4_000
"""Characters that a service is asked about at once."""


class Said:
    """The words of a turn's player, as they stand in the turn.

    A client that brings the whole talk sends all of it each time. What comes after the last reply
    is said now; what came before was said in earlier turns.

    Args:
        turn: The turn.

    Attributes:
        parts: The texts, in order; `put` changes one.
        first_now: The first of them that is said now.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._places: Sequence[int] = ()
        self._changed: set[int] = set()
        self.parts: list[str] = []
        self.first_now = 0
        if turn.given_prompt is not None:
            roles = [one.role for one in turn.given_prompt]
            self._places = [index for index, role in enumerate(roles) if role == "user"]
            self.parts = [turn.given_prompt[index].content for index in self._places]
            replies = [at for at, role in enumerate(roles) if role == "assistant"]
            # What an assistant said after the last of a user is left out of the prompt.
            after = max((at for at in replies if at < self._places[-1]), default=-1)
            self.first_now = sum(1 for place in self._places if place < after)
        else:
            self.parts = [one.said for one in turn.given_history or ()]
            self.first_now = len(self.parts)
            self.parts.append(turn.text)

    @property
    def length(self) -> int:
        """Characters of all of it."""
        return sum(map(len, self.parts))

    def put(self, index: int, text: str) -> None:
        """Put another text in the place of one; `write` brings it to the turn."""
        if text != self.parts[index]:
            self.parts[index] = text
            self._changed.add(index)

    def write(self) -> None:
        """Bring what was changed to wherever the turn has it."""
        if not self._changed:
            return
        turn, last = self._turn, len(self.parts) - 1
        if turn.given_prompt is not None:
            prompt = list(turn.given_prompt)
            for index in self._changed:
                prompt[self._places[index]] = Message("user", self.parts[index])
            turn.given_prompt = prompt
            turn.given_history = given_exchanges(
                turn.npc.id, turn.player, prompt[: self._places[-1]]
            )
            limit: int | None = MAX_SAID_CHARS
        else:
            if turn.given_history is not None:
                turn.given_history = [
                    replace(one, said=said)
                    for one, said in zip(turn.given_history, self.parts[:last], strict=True)
                ]
            limit = None
        if last in self._changed:
            turn.text = self.parts[last][:limit]
        self._changed.clear()


def in_slices(rules: Rules, text: str) -> Iterator[Sequence[Hit]]:
    """Find what is in a text, slice by slice, so that a caller may let others work meanwhile.

    Args:
        rules: What is looked for.
        text: The text.

    Yields:
        What was found in each slice, with its place in the text.
    """
    begin = 0
    while len(text) - begin > SLICE + OVERLAP:
        end = begin + SLICE
        # Not in the middle of a word, or the rest of one is taken for another.
        space = max(text.rfind(" ", end - OVERLAP, end), text.rfind("\n", end - OVERLAP, end))
        end = space if space >= 0 else end
        found = rules.find(text[begin : end + OVERLAP])
        yield [_moved(hit, begin) for hit in found if begin + hit.start < end]
        begin = end
    yield [_moved(hit, begin) for hit in rules.find(text[begin:])]


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


def pieces(text: str) -> Sequence[str]:
    """Return a text in pieces that a service may be asked about."""
    return [text[at : at + MAX_ASKED_CHARS] for at in range(0, len(text), MAX_ASKED_CHARS)]


def _moved(hit: Hit, by: int) -> Hit:
    return replace(hit, start=hit.start + by, end=hit.end + by) if by else hit
