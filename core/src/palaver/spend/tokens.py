"""How many tokens a text is, without a tokenizer: rather too many than too few."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palaver.prompt.sections import Message

__all__ = ["MESSAGE_TOKENS", "prompt_tokens", "text_tokens"]

MESSAGE_TOKENS = 8
"""What a message costs beyond its text: its role and what separates it, generously."""


def text_tokens(text: str, chars_per_token: float) -> int:
    """Estimate the tokens of a text.

    A character outside ASCII counts as a whole token: tokenizers were made for English.

    Args:
        text: The text.
        chars_per_token: Characters of a token of English.
    """
    return ceil(_tokens(text, chars_per_token))


def prompt_tokens(messages: Sequence[Message], chars_per_token: float) -> int:
    """Estimate the tokens of a prompt, likewise.

    Args:
        messages: The prompt.
        chars_per_token: Characters of a token of English.
    """
    tokens = sum(MESSAGE_TOKENS + _tokens(one.content, chars_per_token) for one in messages)
    return ceil(tokens)


def _tokens(text: str, chars_per_token: float) -> float:
    plain = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return plain / chars_per_token + (len(text) - plain)
