"""What a timeline says in words: who spoke and why, how long it took and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from palaver.cli.output import milliseconds
from palaver.turn.model import OBJECTED

if TYPE_CHECKING:
    from palaver.messages import TrailEntry
    from palaver.recent import TurnInfo

__all__ = ["details", "dollars", "figures", "is_filler", "story"]

LAST_WORDS = "last_words"
_BECAUSE = {
    "failed": "failed",
    "late": "was late",
    "refused": "refused",
    "objected": "was objected to",
    "skipped": "was skipped",
}


def is_filler(entry: TrailEntry) -> bool:
    """Return whether an entry is a sentence that filled the wait."""
    return entry.outcome == "served" and entry.reason == "filler"


def story(info: TurnInfo) -> str:
    """Return who spoke and why, in one sentence or two."""
    trail = [entry for entry in info.trail if not is_filler(entry)]
    served = next((entry for entry in reversed(trail) if entry.outcome == "served"), None)
    died = [entry for entry in trail if entry.outcome == "died"]
    filler = " A filler was spoken first." if len(trail) < len(info.trail) else ""
    if info.cached:
        return f"The dialogue cache answered: this was said before.{filler}"
    if served is None:
        if info.status == "cancelled":
            return f"Cancelled before anybody had spoken.{filler}"
        return f"Nobody spoke.{filler}" if not died else f"{_names(died)} died.{filler}"
    name = _speaker(info, served)
    if died:
        text = f"{_names(died)} died in the middle of the line, and {name} went on"
    elif served.backend == LAST_WORDS:
        text = "The persona's last words were spoken"
    else:
        text = f"{name} spoke"
    reasons = _reasons(trail, served)
    if reasons:
        text += f"; {reasons}" if died else f", because {reasons}"
    lost = [entry for entry in trail if entry.outcome == "lost"]
    if lost:
        text += f"; {_names(lost)} lost the race"
    return f"{text}{_ending(info, served)}.{filler}"


def _ending(info: TurnInfo, served: TrailEntry) -> str:
    if info.status == "cancelled":
        return ", until the turn was cancelled"
    if info.status != "truncated":
        return ""
    objection = (served.reason or "").partition(OBJECTED)[2]
    return f", until a check objected: {objection}" if objection else ", cut by length"


def _speaker(info: TurnInfo, served: TrailEntry) -> str:
    who = info.served_by
    if who.backend == served.backend and (who.adapter or who.model):
        return f"{served.backend} ({who.adapter or who.model})"
    return "the persona's last words" if served.backend == LAST_WORDS else served.backend


def _reasons(trail: list[TrailEntry], served: TrailEntry) -> str:
    """Return why those before the speaker did not speak: `a failed and b was late`."""
    by_outcome: dict[str, list[TrailEntry]] = {}
    for entry in trail:
        if entry is not served and entry.outcome in _BECAUSE:
            by_outcome.setdefault(entry.outcome, []).append(entry)
    parts = []
    for outcome, entries in by_outcome.items():
        verb = _BECAUSE[outcome]
        names = dict.fromkeys(entry.backend for entry in entries)
        if len(names) > 1:
            verb = verb.replace("was ", "were ")
        parts.append(f"{_listed(names)} {verb}")
    return _listed(parts)


def _names(entries: list[TrailEntry]) -> str:
    return _listed(dict.fromkeys(entry.backend for entry in entries))


def _listed(names: dict[str, None] | list[str]) -> str:
    *first, last = names or [""]
    return f"{', '.join(first)} and {last}" if first else last


def figures(info: TurnInfo) -> str:
    """Return times, tokens and cost of a turn."""
    parts = [info.status]
    if info.ttft_ms is None:
        parts.append("no words")
    else:
        parts.append(f"first words {milliseconds(info.ttft_ms)}")
    parts.append(f"all {milliseconds(info.total_ms)}")
    usage = info.usage
    if usage.prompt_tokens or usage.completion_tokens:
        parts.append(f"{usage.prompt_tokens} + {usage.completion_tokens} tokens")
    parts.append(dollars(usage.cost_usd) if usage.cost_usd else "no cost")
    return " · ".join(parts)


def details(entry: TrailEntry) -> str:
    """Return what else is known of an entry: why, where, tokens, cost."""
    parts = []
    if entry.reason and not is_filler(entry):
        parts.append(" ".join(entry.reason.split()))
    if entry.server and entry.server not in (entry.reason or ""):
        parts.append(entry.server)
    if entry.prompt_tokens or entry.completion_tokens:
        parts.append(f"{entry.prompt_tokens or 0} + {entry.completion_tokens or 0} tokens")
    if entry.cost_usd:
        parts.append(dollars(entry.cost_usd))
    return " · ".join(parts)


def dollars(value: float) -> str:
    """Return an amount with the digits that matter: `$0.00042`, `$1.20`."""
    if value >= 1:
        return f"${value:.2f}"
    return f"${value:.2g}" if value >= 0.0001 else "under $0.0001"
