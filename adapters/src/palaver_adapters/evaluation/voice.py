"""Who is speaking? A small classifier that names the persona of a text.

Multinomial naive Bayes over words, character n-grams and traits of style, in plain Python: a few
dozen authored lines of each persona are enough, and nothing has to be installed.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

__all__ = ["VoiceClassifier"]

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\.\.\.|…|[^\w\s]")
_SENTENCE_END = re.compile(r"(?:\.{3}|[….!?])\s*")
_DRAWN_OUT = re.compile(r"([^\W\d_])\1\1")
_DOTS = re.compile(r"\.{3}|…")

STYLE_WEIGHT = 3
"""How often a trait of style counts. Few traits say more about a voice than many letters do."""


def features(text: str) -> Counter[str]:
    """Count what the classifier sees: words, 2 and 3 characters in a row, and traits of style."""
    lowered = " ".join(text.lower().split())
    words = _WORD.findall(lowered)
    counts: Counter[str] = Counter(f"w:{word}" for word in words)
    padded = f" {lowered} "
    for size in (2, 3):
        counts.update(f"c:{padded[i : i + size]}" for i in range(len(padded) - size + 1))
    for trait in _style(lowered, [word for word in words if word[0].isalpha()]):
        counts[f"s:{trait}"] += STYLE_WEIGHT
    return counts


def _style(text: str, words: list[str]) -> Iterator[str]:
    """Name traits of style: lengths in steps, and habits such as drawn-out letters."""
    sentences = [part for part in _SENTENCE_END.split(text) if part]
    letters = sum(len(word) for word in words)
    yield f"words per sentence {min(8, len(words) // max(1, len(sentences)))}"
    yield f"letters per word {2 * letters // max(1, len(words)) / 2}"
    yield f"comma {',' in text}"
    yield f"dots {bool(_DOTS.search(text))}"
    yield f"drawn out {bool(_DRAWN_OUT.search(text))}"
    for sentence in sentences:
        yield f"sentence {min(6, len(sentence.split()) // 2)}"


class VoiceClassifier:
    """Names the persona that most likely said a text.

    Every persona is taken to be equally likely, however many lines it was trained on.

    Args:
        samples: Persona and a text of it. At least two personas.
        smoothing: What is added to every count, above 0; smaller trusts rare words more.

    Raises:
        ValueError: Fewer than two personas.
    """

    def __init__(self, samples: Iterable[tuple[str, str]], *, smoothing: float = 1.0) -> None:
        counts: dict[str, Counter[str]] = {}
        for persona, text in samples:
            counts.setdefault(persona, Counter()).update(features(text))
        if len(counts) < 2:
            raise ValueError(f"need lines of two personas or more, got {sorted(counts)}")
        known = set().union(*counts.values())
        self._weights: dict[str, dict[str, float]] = {}
        for persona, seen in sorted(counts.items()):
            total = sum(seen.values()) + smoothing * len(known)
            self._weights[persona] = {
                name: math.log((seen[name] + smoothing) / total) for name in known
            }

    @property
    def personas(self) -> tuple[str, ...]:
        """The personas that it can name, sorted."""
        return tuple(self._weights)

    def scores(self, text: str) -> Mapping[str, float]:
        """Return the log likelihood of a text for each persona.

        Features never seen in training say nothing and are left out.
        """
        seen = features(text)
        return {
            persona: sum(weights[name] * n for name, n in seen.items() if name in weights)
            for persona, weights in self._weights.items()
        }

    def name(self, text: str) -> str:
        """Name the most likely persona; the first in the alphabet if it cannot tell."""
        scores = self.scores(text)
        return max(self.personas, key=lambda persona: scores[persona])

    def accuracy(self, samples: Iterable[tuple[str, str]]) -> float:
        """Return the share of samples (persona, text) that it names rightly, 0 to 1.

        Raises:
            ValueError: There are no samples.
        """
        right = [self.name(text) == persona for persona, text in samples]
        if not right:
            raise ValueError("no samples: give at least one persona and text")
        return sum(right) / len(right)
