"""Ends a reply at strings that the model was not told, because it does not take them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Stops"]


class Stops:
    """Watches a reply for its stop strings.

    What could be the beginning of one is held back until it is known. White space before the
    first word ends nothing: a model that begins with an empty line has said nothing yet.

    Args:
        stops: The strings; with none of them every text passes as it is.

    Attributes:
        found: Whether one was there; nothing passes after it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self._begun = False
        self.found = False

    def __bool__(self) -> bool:
        return bool(self._stops)

    def feed(self, text: str) -> str:
        """Take a piece of text and return what of it and of earlier ones can be said."""
        if self.found:
            return ""
        text, before = self._held + text, ""
        if not self._begun:
            before = text[: len(text) - len(text.lstrip())]
            text = text[len(before) :]
            self._begun = bool(text)
        # The one that is whole first counts, however the text was cut into pieces.
        ends = [
            (place + len(stop), place) for stop in self._stops if (place := text.find(stop)) >= 0
        ]
        if ends:
            self.found, self._held = True, ""
            return before + text[: min(ends)[1]]
        hold = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - hold :]
        return before + text[: len(text) - hold]

    def end(self) -> str:
        """Return what was held back, now that nothing follows."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text begin a stop string."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
