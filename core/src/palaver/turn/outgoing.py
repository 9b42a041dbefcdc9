"""What goes out of one turn: text, sentences, feelings and actions as messages, in order."""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quote
from typing import TYPE_CHECKING, Protocol

from palaver.turn.done import to_json
from palaver.turn.sentences import Sentence, SentenceSplitter

if TYPE_CHECKING:
    from palaver.turn.events import Action, Emotion
    from palaver.turn.model import Turn
    from palaver.turn.pace import Pace

__all__ = ["Outgoing", "TurnSink", "accepted_message"]

MAX_DELTA_CHARS = 2_000
"""Longest text of one delta; even 12 bytes a character leave it below the limit of a message."""


class TurnSink(Protocol):
    """Where a turn's messages go: a session, or an HTTP response."""

    capabilities: frozenset[str]

    def emit(self, head: str, tail: str) -> None:
        """Send a message of which `seq` is still missing: it is `head`, the number, `tail`."""

    def end(self, head: str, tail: str) -> None:
        """Send the last one, `turn.done`, likewise."""


class Outgoing:
    """Writes a turn's messages to a sink; what the sink does not take is left out.

    Args:
        turn: The turn.
        sink: Where they go.
        pace: How often text goes out after the first; None lets every piece out by itself.
    """

    def __init__(self, turn: Turn, sink: TurnSink, pace: Pace | None = None) -> None:
        self._emit = sink.emit
        self._turn_json = quote(turn.id)
        self._delta_head = f'{{"type":"turn.delta","turn":{self._turn_json},"seq":'
        self._pace = pace if pace is not None and pace.window_s else None
        self._begun = False
        self._joined: list[str] = []
        """What waits to go out as one message."""
        self._splitter = SentenceSplitter() if "sentence" in sink.capabilities else None
        self._feels = "emotion" in sink.capabilities
        self.acts = "action" in sink.capabilities

    def text(self, text: str) -> None:
        """Send text; what is not the first may wait a moment for what follows it."""
        if self._pace is None or not self._begun:
            self._begun = True
            self._delta(text)
            return
        if not self._joined:
            self._pace.soon(self._send_joined)
        self._joined.append(text)

    def emotion(self, emotion: Emotion, *, after_sentence: bool) -> None:
        """Send a feeling, if the sink takes feelings.

        Args:
            emotion: The feeling.
            after_sentence: Whether the text so far ends a sentence.
        """
        if self._feels:
            self._before_change(after_sentence)
            self._emit(
                f'{{"type":"turn.emotion","turn":{self._turn_json},"seq":',
                f',"name":{quote(emotion.name)},"intensity":{emotion.intensity:g}}}',
            )

    def action(self, action: Action, *, after_sentence: bool) -> None:
        """Send an action.

        Args:
            action: The action.
            after_sentence: Whether a sentence that the text so far ends goes out before it:
                nobody knows how long the game takes over one that it has to confirm.
        """
        self._before_change(after_sentence)
        self._emit(
            f'{{"type":"turn.action","turn":{self._turn_json},"seq":',
            f',"call":{quote(action.call)},"name":{quote(action.name)},'
            f'"args":{to_json(action.args)}}}',
        )

    def end(self) -> None:
        """Send what waits, and the last sentence."""
        self._before_change(True)

    def _before_change(self, after_sentence: bool) -> None:
        """Let nothing overtake text; what colours what follows does not reach back."""
        self._send_joined()
        if after_sentence and self._splitter is not None:
            self._sentences(self._splitter.flush())

    def _send_joined(self) -> None:
        if self._joined:
            text = "".join(self._joined)
            self._joined.clear()
            self._delta(text)

    def _delta(self, text: str) -> None:
        for at in range(0, len(text), MAX_DELTA_CHARS):
            piece = text[at : at + MAX_DELTA_CHARS]
            self._emit(self._delta_head, f',"text":{quote(piece)}}}')
        if self._splitter is not None:
            self._sentences(self._splitter.feed(text))

    def _sentences(self, sentences: list[Sentence]) -> None:
        for one in sentences:
            self._emit(
                f'{{"type":"turn.sentence","turn":{self._turn_json},"seq":',
                f',"index":{one.index},"start":{one.start},"text":{quote(one.text)}}}',
            )


def accepted_message(turn: Turn) -> tuple[str, str]:
    """Return head and tail of `turn.accepted`."""
    return (
        f'{{"type":"turn.accepted","turn":{quote(turn.id)},"seq":',
        f',"npc":{quote(turn.npc.id)},"tier":{quote(turn.tier_name)}}}',
    )
