"""Sixth step: events become messages, and the turn keeps account of what was shown."""

# ruff: noqa: RUF001  # quotation marks

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote
from typing import TYPE_CHECKING, Protocol

from palaver.messages import MAX_REPLY_CHARS
from palaver.turn.careful import Careful
from palaver.turn.done import done_message
from palaver.turn.events import Action, Emotion, Event, Text
from palaver.turn.sentences import ENDINGS, Sentence, SentenceSplitter

if TYPE_CHECKING:
    from palaver.turn.model import Turn

__all__ = ["Reply", "TurnSink", "accepted_message", "done_message"]

MAX_REPLY_BYTES = 50_000
"""Longest reply as ASCII JSON: `turn.done` repeats it whole, in a message of at most 60 kB."""
MAX_DELTA_CHARS = 2_000
"""Longest text of one delta; even 12 bytes a character leave it below the limit of a message."""

_SENTENCE_END = re.compile(rf"[{re.escape(ENDINGS)}]+[\"'”’»)]*(?=\s)|[。！？]")
to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class TurnSink(Protocol):
    """Where a turn's messages go: a session, or an HTTP response."""

    capabilities: frozenset[str]

    def emit(self, head: str, tail: str) -> None:
        """Send a message of which `seq` is still missing: it is `head`, the number, `tail`."""

    def end(self, head: str, tail: str) -> None:
        """Send the last one, `turn.done`, likewise."""


class Reply:
    """What is shown of one turn.

    Args:
        turn: The turn.
        sink: Where its messages go.
        clock: The time, in seconds.
    """

    def __init__(self, turn: Turn, sink: TurnSink, clock: Callable[[], float]) -> None:
        self.first_at: float | None = None
        self.full = False
        """Whether the longest reply was reached; what comes after is not shown."""
        self._clock = clock
        self._sink = sink
        self._emit = sink.emit
        self._turn_json = quote(turn.id)
        self._delta_head = f'{{"type":"turn.delta","turn":{self._turn_json},"seq":'
        self._parts: list[str] = []
        self._chars = 0
        self._bytes = 0
        self._space = ""
        self._over = False
        self._live = False
        self._waiting: list[Event] = []
        self._careful: Careful | None = None
        self._splitter = SentenceSplitter() if "sentence" in sink.capabilities else None

    @property
    def over(self) -> bool:
        """Whether it has ended, so that nothing is shown any more."""
        return self._over

    @property
    def length(self) -> int:
        """Characters that were shown so far."""
        return self._chars

    @property
    def text(self) -> str:
        """Everything that was shown so far."""
        return "".join(self._parts)

    def show(self, event: Event) -> None:
        """Take one event; after the end nothing is shown any more."""
        if self._over:
            return
        if self._careful is not None:
            for ready in self._careful.feed(event):
                self._show(ready)
        else:
            self._show(event)

    def _show(self, event: Event) -> None:
        if type(event) is Text:
            if event.text:
                self._text(event.text)
        elif not self._live:
            self._waiting.append(event)
        elif type(event) is Emotion:
            if "emotion" in self._sink.capabilities:
                self._flush_sentence_before_change()
                self._emit(
                    f'{{"type":"turn.emotion","turn":{self._turn_json},"seq":',
                    f',"name":{quote(event.name)},"intensity":{event.intensity:g}}}',
                )
        elif type(event) is Action and "action" in self._sink.capabilities:
            self._emit(
                f'{{"type":"turn.action","turn":{self._turn_json},"seq":',
                f',"call":{quote(event.call)},"name":{quote(event.name)},'
                f'"args":{to_json(event.args)}}}',
            )

    def say(self, text: str) -> None:
        """Take text that is not empty; the same as to show it, without an event around it."""
        if self._careful is not None:
            self.show(Text(text))
        elif not self._over:
            self._text(text)

    def begin(self) -> None:
        """Another attempt begins: what it does and feels waits for its first words.

        Otherwise a backend that fails without a word would have acted, and the next one would
        speak under its feelings.
        """
        self._live = False
        self._waiting.clear()

    def close_sentence(self) -> None:
        """End an open sentence with an ellipsis; a whole one stays as it is."""
        if self._careful is not None:
            # A sentence that nobody will finish is better left out.
            self._careful = None
        last = "".join(self._parts[-8:])
        if last and last[-1] not in ENDINGS and last.rstrip("\"'”’»)]")[-1:] not in ENDINGS:
            self._space = ""
            self._write("…")
        self._space = " "

    def cut_short(self) -> None:
        """End a reply that a length limit cut: at its last sentence, as far as that was held back.

        What was shown cannot be taken back: a sentence that is open then ends with an ellipsis.
        """
        if self._careful is not None:
            held, self._careful = self._careful.rest(), None
            if not self._parts:
                for event in held:
                    self.show(event)
        self.close_sentence()

    def hold_sentences(self) -> None:
        """Show only whole sentences from the next one on: the reply may soon be cut."""
        if self._careful is None and not self._over:
            # With the white space that waits: without it the last sentence would seem open.
            self._careful = Careful("".join(self._parts[-8:]) + self._space)

    def finish(self) -> None:
        """Let out the last sentence and end the reply; white space at its end is never shown."""
        if self._careful is not None:
            held, self._careful = self._careful.rest(), None
            for event in held:
                self.show(event)
        self._over = True
        self._space = ""
        if self._splitter is not None:
            for sentence in self._splitter.flush():
                self._sentence(sentence)

    def _text(self, text: str) -> None:
        # White space waits for what follows it, so that a reply neither begins nor ends with it.
        if not self._parts:
            text = text.lstrip()
            if not text:
                return
        if text[-1].isspace():
            shown = text.rstrip()
            if not shown:
                self._space += text
                return
            text, after = self._space + shown, text[len(shown) :]
            self._space = after
        elif self._space:
            text, self._space = self._space + text, ""
        self._write(text)

    def _write(self, text: str) -> None:
        if self.full:
            return
        escaped = quote(text)
        self._chars += len(text)
        self._bytes += len(escaped)
        if self._chars > MAX_REPLY_CHARS or self._bytes > MAX_REPLY_BYTES:
            self._chars -= len(text)
            self._bytes -= len(escaped)
            self.full = True
            room = (MAX_REPLY_CHARS - self._chars, MAX_REPLY_BYTES - self._bytes)
            text = _whole_sentences(_fitting(text, *room))
            if not text:
                return
            escaped = quote(text)
            self._chars += len(text)
            self._bytes += len(escaped)
        if self.first_at is None:
            self.first_at = self._clock()
        if not self._live:
            self._live = True
            waiting, self._waiting = self._waiting, []
            for event in waiting:
                self.show(event)
        self._parts.append(text)
        if len(text) <= MAX_DELTA_CHARS:
            self._emit(self._delta_head, f',"text":{escaped}}}')
        else:
            for at in range(0, len(text), MAX_DELTA_CHARS):
                self._emit(self._delta_head, f',"text":{quote(text[at : at + MAX_DELTA_CHARS])}}}')
        if self._splitter is not None:
            for sentence in self._splitter.feed(text):
                self._sentence(sentence)

    def _sentence(self, sentence: Sentence) -> None:
        head = f'{{"type":"turn.sentence","turn":{self._turn_json},"seq":'
        self._emit(
            head,
            f',"index":{sentence.index},"start":{sentence.start},"text":{quote(sentence.text)}}}',
        )

    def _flush_sentence_before_change(self) -> None:
        """A new emotion colours what follows: a sentence that is complete goes out before it."""
        if self._splitter is not None and self._parts and self._parts[-1][-1] in ENDINGS:
            for sentence in self._splitter.flush():
                self._sentence(sentence)


def _whole_sentences(text: str) -> str:
    """Return a text that was cut without its last, open sentence, or at least word."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    if ends:
        return text[: ends[-1]]
    words = text.rpartition(" ")[0]
    return f"{words}…" if words else text


def _fitting(text: str, chars: int, escaped_bytes: int) -> str:
    """Return the longest beginning of `text` within both bounds."""
    text = text[: max(0, chars)]
    while text and len(quote(text)) > escaped_bytes:
        text = text[: len(text) * 3 // 4]
    return text


def accepted_message(turn: Turn) -> tuple[str, str]:
    """Return head and tail of `turn.accepted`."""
    return (
        f'{{"type":"turn.accepted","turn":{quote(turn.id)},"seq":',
        f',"npc":{quote(turn.npc.id)},"tier":{quote(turn.tier_name)}}}',
    )
