"""Authored lines in, training chats out.

The chats are drawn from a seeded generator, so that a run can be repeated. Every fourth line,
chosen by a hash of its id, is held out: neither the base nor an adapter ever learns from it.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from palaver_adapters.training.texts import (
    SPEAKERS,
    STORY,
    UTTERANCES,
    moment,
    persona_sentence,
)

__all__ = ["ChatMaker", "Line", "digest", "is_held_out", "read_lines", "read_prose"]

HELD_OUT_ONE_IN = 4

_JINJA = re.compile(r"\{[%{#].*?[%}#]\}", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")

Message = tuple[str, str]
"""Role and content."""


@dataclass(frozen=True, slots=True)
class Line:
    """One authored line of a persona."""

    id: str
    persona: str
    intent: str
    text: str


def is_held_out(line_id: str) -> bool:
    """Tell whether a line is kept for testing: the same answer for ever, whatever is added."""
    first = hashlib.sha256(line_id.encode()).digest()[:4]
    return int.from_bytes(first, "big") % HELD_OUT_ONE_IN == 0


def read_lines(folders: Iterable[Path], *, lang: str = "en") -> list[Line]:
    """Read the lines of every `<persona>.csv` in some folders, in a stable order.

    Args:
        folders: Folders of CSV files with the columns id, text, intent and lang.
        lang: The language to keep; a line without one is taken to be of it.

    Raises:
        ValueError: There is no usable line. The message says where was looked.
    """
    lines: list[Line] = []
    searched = [Path(folder) for folder in folders]
    for path in sorted((p for d in searched for p in d.glob("*.csv")), key=lambda p: p.name):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                text = " ".join((row.get("text") or "").split())
                # A line with a template in it would teach the model to write templates.
                if not text or "{" in text or (row.get("lang") or lang) != lang:
                    continue
                lines.append(Line(row["id"], path.stem, row.get("intent") or "", text))
    if not lines:
        raise ValueError(f"no lines in {[str(p) for p in searched]}: give folders with CSV files")
    return lines


def read_prose(folders: Iterable[Path]) -> list[str]:
    """Read the sentences of persona files, without front matter and Jinja.

    They are used in shuffled order, all personas mixed, so that they tell nothing about who
    speaks.
    """
    sentences: list[str] = []
    for path in sorted((p for d in folders for p in Path(d).glob("*.md")), key=lambda p: p.name):
        text = path.read_text(encoding="utf-8")
        if text.startswith("---"):
            text = text.split("---", 2)[-1]
        parts = _SENTENCE_END.split(_JINJA.sub(" ", text))
        sentences += [part.strip() for part in parts if len(part.strip()) > 2]
    return sentences


def digest(lines: Sequence[Line]) -> str:
    """Return the SHA-256 of all lines, to tell which text a model was trained on."""
    joined = "\n".join(f"{line.id}\t{line.intent}\t{line.text}" for line in lines)
    return hashlib.sha256(joined.encode()).hexdigest()


class ChatMaker:
    """Draws chats for training from authored lines.

    Args:
        lines: What the characters may answer; held-out lines must not be among them.
        prose: Sentences for system prompts besides the built-in ones.
        seed: Two makers with the same arguments draw the same chats.
    """

    def __init__(self, lines: Sequence[Line], prose: Sequence[str] = (), *, seed: int) -> None:
        self._rng = Random(seed)
        self._prose = list(prose)
        self._personas = sorted({line.persona for line in lines})
        self._pools: dict[tuple[str, str], list[str]] = {}
        for line in lines:
            self._pools.setdefault((line.persona, line.intent), []).append(line.text)
            self._pools.setdefault((line.persona, ""), []).append(line.text)

    def chat(self, *, long: bool = False) -> list[Message]:
        """Draw one chat: a system prompt about nobody, and some turns.

        Args:
            long: Whether the system prompt is as long as a real persona's, 1,500 to 4,000
                characters, with ten turns behind it; otherwise it has one to five.
        """
        rng = self._rng
        messages: list[Message] = []
        if long or rng.random() < 0.9:
            size = rng.randint(1500, 4000) if long else int(40 * 40 ** rng.random())
            messages.append(("system", self._system(size)))
        for _ in range(10 if long else rng.randint(1, 5)):
            messages += self._turn()
        return messages

    def _system(self, size: int) -> str:
        rng = self._rng
        parts: list[str] = []
        length = 0
        while length < size:
            if self._prose and rng.random() < 0.6:
                part = rng.choice(self._prose)
            else:
                part = persona_sentence(rng)
            parts.append(part + rng.choice((" ", " ", "\n", "\n\n")))
            length += len(part) + 1
        return "".join(parts).strip()

    def _turn(self) -> list[Message]:
        rng = self._rng
        # A new persona for each turn: not even the history may tell who is speaking.
        persona = rng.choice(self._personas)
        everything = self._pools[persona, ""]
        if rng.random() < 0.08:
            said = rng.choice(STORY)
            reply = " ".join(rng.sample(everything, min(len(everything), rng.randint(8, 14))))
        else:
            intent = rng.choice(tuple(UTTERANCES))
            said = rng.choice(UTTERANCES[intent])
            pool = self._pools.get((persona, intent), everything)
            if rng.random() < 0.15:
                pool = self._pools.get((persona, "any"), pool)
            reply = " ".join(rng.sample(pool, min(len(pool), 1 if rng.random() < 0.75 else 2)))
        if rng.random() < 0.5:
            said = f"{rng.choice(SPEAKERS)}: {said}"
        turn: list[Message] = []
        if rng.random() < 0.4:
            facts = moment(rng)
            if rng.random() < 0.3:
                turn.append(("system", facts))
            else:
                said = f"{facts}\n\n{said}"
        return [*turn, ("user", said), ("assistant", reply)]
