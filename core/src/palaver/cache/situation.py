"""What makes two situations the same: the key under which replies are kept.

A tier's rule names the facts that matter; always part of the key are the world, the persona and its
version, the adapter, the tier, the language, what the NPC is called, and who speaks if it is an
NPC. Of what was said the key holds the intent, and the words themselves where the intent does not
tell them: a greeting is a greeting, but two questions are two situations.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palaver.config.tiers import CacheRule
    from palaver.memory import Exchange
    from palaver.turn.model import Turn

__all__ = ["Situation", "normal", "past_before", "situation_of"]

SHORT_WORDS = 3
"""An utterance up to this long ("Why?", "Yes.") leans on what the NPC said before."""
LONG_WORDS = 6
"""One that is longer says more than its intent."""
_NOTHING = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a turn happens, as far as its tier's rule looks.

    Attributes:
        key: Name of this situation.
        persona: What a change of version empties: world and persona.
        version: Version of persona and adapter.
        holds: What the key holds of them, as one text in lower case; a line for each.
        exact: Whether the very words are part of it.
        leans: Whether what the NPC said before is, because the utterance is short.
    """

    key: str
    persona: str
    version: str
    holds: str
    exact: bool
    leans: bool = False


def situation_of(turn: Turn, rule: CacheRule, models: str = "") -> Situation | str:
    """Return the situation of a turn, or why the cache is of no use to it.

    Args:
        turn: The turn; intent, mood, facts and history are known.
        rule: The rule of its tier.
        models: What else a reply depends on: the tier's chain and its models.
    """
    if turn.seed is not None:
        return "a seed asks for the model's own words"
    intent = turn.intent or "other"
    words = normal(turn.text)
    exact, leans = "utterance" in rule.facts, False
    parts: list[Any] = [
        turn.lang,
        turn.speaker,
        turn.variables["npc"]["name"],
        turn.npc.persona,
    ]
    if turn.cue is not None:
        exact = True
        parts.append({"cue": normal(turn.cue)})
    else:
        count = len(words.split())
        exact = exact or intent in rule.exact or count > LONG_WORDS
        if not exact and intent == "other":
            return "its intent is unknown, and the rule does not look at what was said"
        if exact:
            parts.append({"said": words})
            leans = count <= SHORT_WORDS and intent in rule.exact
            if leans:
                parts.append({"before": _reply_before(turn)})
    facts = (name for name in rule.facts if name != "utterance")
    parts.extend({name: list(_values(name, turn, rule.band))} for name in facts)
    persona, most = turn.persona, turn.tier.max_tokens
    # Who wants less gets no reply that others may have.
    most = min(most, persona.front.sampling.max_tokens or most)
    version = f"{persona.version}\0{persona.front.adapter}"
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"), default=str)
    fixed = (turn.world.name, persona.id, version, turn.tier_name, models, str(most))
    whole = "\0".join((*fixed, text))
    digest = hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    holds = "\n".join(_texts(parts)).casefold()
    return Situation(digest, f"{turn.world.name}\0{persona.id}", version, holds, exact, leans)


def _texts(value: Any) -> Iterator[str]:
    """Yield what a part of the key says, without the names of facts: a player may be called so."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif value is not None:
        yield str(value)


def normal(text: str) -> str:
    """Return what was said without case and punctuation."""
    return _NOTHING.sub(" ", text.casefold()).strip()


def past_before(turn: Turn) -> Exchange | None:
    """Return the NPC's last exchange with whoever speaks, as far as a model would see it."""
    return next((past for past in reversed(turn.history) if past.npc == turn.npc.id), None)


def _reply_before(turn: Turn) -> str:
    past = past_before(turn)
    return "" if past is None else past.reply


def _values(name: str, turn: Turn, band: float) -> Iterator[Any]:
    """Yield what a fact of the rule is; a number counts by its band."""
    if name == "intent":
        yield (turn.intent or "other") if turn.cue is None else None
    elif name == "mood":
        yield turn.mood
    elif name == "zone":
        yield turn.npc.zone
    elif name == "lang":
        yield turn.lang
    elif name == "before":
        yield _reply_before(turn)
    elif name == "declared":
        # All that its template can depend on, so that a rule that names nothing is still right.
        for part, known in turn.persona.declared.items():
            facts = turn.variables[part]
            yield {fact: _banded(facts.get(fact), band) for fact in known}
    else:
        holder, _, rest = name.partition(".")
        parts = {"npc": "facts"}.get(holder, holder)
        if rest and parts in ("facts", "player", "game", "context"):
            yield _banded(turn.variables[parts].get(rest), band)
            return
        for part in ("facts", "player", "game"):
            yield _banded(turn.variables[part].get(name), band)


def _banded(value: Any, band: float) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not math.isfinite(value):
        return str(value)
    if abs(value) <= band / 2:
        # Hunger from 0 to 10 and friendship from -100 to 100 are told apart with one setting.
        return math.floor(value)
    return f"band {math.floor(value / band)}"
