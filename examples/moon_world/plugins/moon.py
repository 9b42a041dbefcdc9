"""What everybody on the moor knows about the moon."""

import re

from palaver import Place, Section, Text, hookimpl


def is_full(turn):
    """The game says which day it is; on the 14th of each month of 28 days the moon is full."""
    return turn.variables["game"].get("day", 0) % 28 == 14


@hookimpl
def palaver_build_context(turn):
    """Lines and templates can use `context.moon`."""
    return {"moon": "full" if is_full(turn) else "not full"}


@hookimpl
def palaver_prompt(turn, prompt):
    """A model has to be told, too."""
    if is_full(turn):
        text = "The moon is full tonight. You are afraid, and the door is barred."
        prompt.add(Section("moon", "user", text, 60, "moon.py", Place.MOMENT))


class Hush:
    """Does not let the moor be named."""

    def __init__(self):
        self.held = ""

    def feed(self, event):
        """Called with each event: a piece of text, an emotion, an action."""
        if not isinstance(event, Text):
            return [*self.flush(), event]
        # A piece may end inside a word; the last word waits for the next piece.
        *whole, self.held = re.split(r"(\W+)", self.held + event.text)
        return self.said("".join(whole))

    def flush(self):
        """Called once at the end: lets out what was held back."""
        held, self.held = self.held, ""
        return self.said(held)

    def said(self, text):
        """What is shown instead of a text."""
        text = re.sub(r"\bmoor\b", "you know where", text)
        return [Text(text)] if text else []


@hookimpl
def palaver_filter(turn):
    """A new filter for each reply, or None."""
    return Hush() if is_full(turn) else None


@hookimpl
def palaver_route(turn, chain):
    """Small talk needs no model."""
    return ["static"] if turn.intent in ("greeting", "farewell", "thanks") else None


@hookimpl
def palaver_turn_received(turn):
    """Nobody sends you out tonight."""
    if turn.intent == "quest" and is_full(turn):
        turn.refuse("no errands under a full moon")
