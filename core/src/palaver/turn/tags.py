"""Inline tags: how any model expresses actions and emotions, and how they become events.

The grammar is fixed: `<feel NAME INTENSITY>` before the text it colours, and
`<do NAME {"arg": value}>`. This filter comes first and never lets a tag reach the player, whole,
broken or cut off. Everything else with a `<` passes as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from palaver.hints import did_you_mean
from palaver.turn.events import EMOTIONS, Action, Emotion, Event, Text

if TYPE_CHECKING:
    from palaver.actions import DeclaredAction
    from palaver.turn.model import Turn

__all__ = ["TagFilter", "actions_in", "tag_problems", "without_tags"]

MAX_TAG_CHARS = 2_000
"""A tag longer than this is not one: it is dropped up to its end."""
MAX_ACTIONS = 16
"""Actions in one reply; the model repeats itself beyond."""

_OPENINGS = ("feel", "do", "/feel", "/do")
_OPEN = re.compile(r"<\s*(/?)\s*(feel|do)(?=[\s:>{]|$)", re.IGNORECASE)
_MAYBE = re.compile(r"<\s*/?\s*[a-z]{0,4}$", re.IGNORECASE)
_FEEL = re.compile(r"[\s:]*([A-Za-z_][\w-]*)?[\s:=,]*([0-9]*\.?[0-9]+)?")
_DO = re.compile(r"[\s:]*([A-Za-z_]\w*)\s*", re.DOTALL)


class TagFilter:
    """Turns inline tags of one reply into events.

    Args:
        turn: The turn; tags that cannot be used are noted in its trace.
        actions: What the engine declared, by name.
        emotions: Emotions of the persona besides the common ones.
    """

    def __init__(
        self, turn: Turn, actions: Mapping[str, DeclaredAction], emotions: Iterable[str] = ()
    ) -> None:
        self._turn = turn
        self._actions = actions
        self._own_emotions = emotions
        self._held = ""
        self._skipping = False
        """Whether the rest of a tag that was too long is still to come."""
        self._gap = False
        """Whether white space before a tag is shown already, so that it is not doubled."""
        self._space = True

    def passes(self, text: str) -> bool:
        """Take a piece of text if it goes on as it is; otherwise it has to be fed."""
        if self._held or self._gap or self._skipping or "<" in text or not text:
            return False
        self._space = text[-1].isspace()
        return True

    def feed(self, event: Event) -> Iterable[Event]:
        """Take one event and return what goes on."""
        if type(event) is not Text:
            return (event,)
        text = event.text
        if self._skipping:
            _, closed, text = text.partition(">")
            if not closed:
                return ()
            self._skipping = False
            return self._parse(text) if text else ()
        if self.passes(text):
            return (event,)
        return self._parse(self._held + text)

    def flush(self) -> Iterable[Event]:
        """Drop a tag that was never closed."""
        if self._held:
            self._turn.note(f"an unfinished tag was dropped: {self._held[:60]!r}")
            self._held = ""
        return ()

    def _parse(self, data: str) -> list[Event]:
        events: list[Event] = []
        plain: list[str] = []
        at = 0
        self._held = ""
        while (start := data.find("<", at)) >= 0:
            plain.append(data[at:start])
            opening = _OPEN.match(data, start)
            if opening is None:
                if _might_open(data, start):
                    self._held = data[start:]
                    at = len(data)
                    break
                plain.append("<")
                at = start + 1
                continue
            end = _closing(data, opening.end())
            if end < 0:
                if len(data) - start > MAX_TAG_CHARS:
                    self._turn.note(f"an endless tag was dropped: {data[start : start + 60]!r}")
                    self._skipping = True
                    at = len(data)
                    break
                self._held = data[start:]
                at = len(data)
                break
            self._text(events, plain)
            self._gap = self._space
            if not opening[1]:
                made = self._event(opening[2].lower(), data[opening.end() : end])
                if made is not None:
                    events.append(made)
            at = end + 1
        plain.append(data[at:])
        self._text(events, plain)
        return events

    def _text(self, events: list[Event], plain: list[str]) -> None:
        text = "".join(plain)
        plain.clear()
        if text and self._gap:
            text = text.lstrip()
            if text:
                self._gap = False
        if text:
            self._space = text[-1].isspace()
            events.append(Text(text))

    def _event(self, kind: str, inner: str) -> Event | None:
        return self._feel(inner) if kind == "feel" else self._do(inner)

    def _feel(self, inner: str) -> Event | None:
        match = _FEEL.match(inner)
        name = (match[1] or "").lower() if match else ""
        own = (one.lower() for one in self._own_emotions)
        if not match or (name not in EMOTIONS and name not in own):
            self._turn.note(f"an unknown emotion was dropped: {inner[:60]!r}")
            return None
        return Emotion(name, min(1.0, float(match[2])) if match[2] else 1.0)

    def _do(self, inner: str) -> Event | None:
        match = _DO.match(inner)
        declared = self._actions.get(match[1]) if match else None
        if match is None or declared is None:
            self._turn.note(f"an action nobody declared was dropped: {inner[:60]!r}")
            return None
        rest = inner[match.end() :].strip()
        args = _json_object(rest) if rest else {}
        if args is None:
            problem: str | None = "its arguments are not a JSON object"
        else:
            problem = declared.problem(args)
        if self._turn.calls >= MAX_ACTIONS:
            problem = f"more than {MAX_ACTIONS} actions in one reply"
        if problem is not None or args is None:
            self._turn.note(f"the action {declared.name} was dropped: {problem:.200}")
            return None
        # Counted over all attempts of the turn: a call is never named twice.
        self._turn.calls += 1
        return Action(declared.name, args, f"{self._turn.id}.{self._turn.calls}")


def without_tags(text: str) -> str:
    """Return a text as it is shown: without its tags, and without doubled space around them."""
    if "<" not in text:
        return text
    kept: list[str] = []
    at = 0
    for opening in _OPEN.finditer(text):
        if opening.start() < at:
            continue
        end = _closing(text, opening.end())
        before = text[at : opening.start()]
        kept.append(before.lstrip() if kept and kept[-1][-1:].isspace() else before)
        at = end + 1 if end >= 0 else len(text)
    rest = text[at:]
    shown = "".join(kept)
    return (shown + (rest.lstrip() if not shown or shown[-1].isspace() else rest)).strip()


def actions_in(text: str) -> dict[str, bool]:
    """Return the names of the actions that a text calls, each with whether it has arguments."""
    found: dict[str, bool] = {}
    for opening in _OPEN.finditer(text):
        match = _DO.match(text, opening.end())
        if match is not None and not opening[1] and opening[2].lower() == "do":
            arguments = text[match.end() : match.end() + 1] not in (">", "")
            found[match[1]] = found.get(match[1], False) or arguments
    return found


def tag_problems(text: str, emotions: Iterable[str] = ()) -> list[str]:
    """Return what is wrong with the tags of an authored text, in words.

    Args:
        text: The text.
        emotions: Emotions of the persona besides the common ones.
    """
    problems = []
    known = [*EMOTIONS, *(name.lower() for name in emotions)]
    for opening in _OPEN.finditer(text):
        end = _closing(text, opening.end())
        if end < 0:
            problems.append(f"the tag {text[opening.start() :][:30]!r} is never closed; add a `>`")
            break
        inner = text[opening.end() : end]
        if opening[2].lower() == "feel" and not opening[1]:
            name = (match[1] or "") if (match := _FEEL.match(inner)) else ""
            if name.lower() not in known:
                problems.append(f"there is no emotion {name!r}{did_you_mean(name, known)}")
        elif not opening[1]:
            match = _DO.match(inner)
            rest = inner[match.end() :].strip() if match else inner
            if match is None or (rest and _json_object(rest) is None):
                problems.append(
                    f"`<do{inner}>` is no action; write `<do NAME>` or `<do NAME "
                    '{"argument": 1}>`'
                )
    return problems


def _json_object(text: str) -> dict[str, Any] | None:
    """Return a JSON object, or None if the text is none; JSON has neither NaN nor infinity."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _might_open(data: str, start: int) -> bool:
    """Return whether the text from `start` to its end could still become a tag."""
    if not _MAYBE.match(data, start):
        return False
    word = re.sub(r"\s", "", data[start + 1 :]).lower()
    return any(opening.startswith(word) for opening in _OPENINGS)


def _closing(data: str, at: int) -> int:
    """Return the index of the `>` that ends the tag, or -1.

    One inside a string of its arguments does not. Outside of strings JSON has none, so a brace
    that was forgotten costs the tag and not the line.
    """
    quoted = escaped = braced = False
    for index in range(at, len(data)):
        char = data[index]
        if quoted:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                quoted = False
        elif char == '"' and braced:
            quoted = True
        elif char == "{":
            braced = True
        elif char == ">":
            return index
    return -1
