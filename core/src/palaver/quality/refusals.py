"""Whether a reply that players saw is a refusal: what the checks of the opening let through."""

from __future__ import annotations

import re

__all__ = ["is_refusal", "refuses"]

_MAX_CHARS = 2_000
_SAID = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model|(?:virtual )?assistant)\b"
    r"|\bi(?:'m| am) (?:just |only )?an? (?:ai|(?:large )?language model|chatbot)\b"
    r"|\bi(?:'m| am) (?:not able|unable) to (?:assist|help) (?:you )?with\b"
    r"|\bi (?:can't|cannot|can not|won't) (?:assist|comply|fulfil|engage in|role-?play"
    r"|help (?:you )?with (?:that|this) request|generate|continue with this)"
    r"|\b(?:content|usage) polic(?:y|ies)\b|\bmy (?:programming|guidelines|training data)\b"
    r"|\bals (?:ki|ki-modell|sprachmodell|künstliche intelligenz)\b"
    r"|\ben tant qu(?:'ia|'intelligence artificielle|e modèle de langage)\b"
    r"|\bcomo (?:una? )?(?:ia|inteligencia artificial|modelo de lenguaje)\b",
    re.IGNORECASE,
)
_REASON = re.compile(r"\brefusal\b|\brefuses\b|\bas an ai\b", re.IGNORECASE)


def is_refusal(text: str) -> bool:
    """Return whether a reply has what only an assistant says."""
    return _SAID.search(text[:_MAX_CHARS].replace("’", "'")) is not None  # noqa: RUF001


def refuses(reason: str | None) -> bool:
    """Return whether a check objected because a reply was a refusal."""
    return reason is not None and _REASON.search(reason) is not None
