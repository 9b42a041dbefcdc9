"""Trimming a prompt to a backend's context window.

What has the lowest priority goes first; of the conversation, the oldest block. Length is estimated
as characters times a ratio per backend, so that no tokenizer is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

from palaver.prompt.sections import Prompt, Section

__all__ = ["KEEP", "budget_chars", "trim"]

KEEP = 100
"""Sections of this priority and above are never dropped."""
_OVERHEAD_CHARS = 8
"""What a section costs besides its text: separators and the template's role marks."""
_SLACK_TOKENS = 16


def budget_chars(context_tokens: int, max_tokens: int, chars_per_token: float) -> int:
    """Return how many characters of prompt fit beside the longest reply.

    Args:
        context_tokens: The context window, in tokens.
        max_tokens: Longest reply, in tokens.
        chars_per_token: Characters of prompt per token.
    """
    return max(0, int((context_tokens - max_tokens - _SLACK_TOKENS) * chars_per_token))


def trim(prompt: Prompt, max_chars: int) -> tuple[Prompt, Sequence[str]]:
    """Drop sections until the prompt fits.

    Args:
        prompt: The prompt; it is not changed.
        max_chars: Characters that fit.

    Returns:
        The prompt that fits (the same object if nothing had to go) and the names of what went. If
        even the sections that are always kept are too long, the longest of them is cut.
    """
    total = sum(len(section.text) + _OVERHEAD_CHARS for section in prompt.sections)
    if total <= max_chars:
        return prompt, ()
    kept = list(prompt.sections)
    dropped: list[str] = []
    while total > max_chars:
        candidates = [section for section in kept if section.priority < KEEP]
        if not candidates:
            break
        lowest = min(section.priority for section in candidates)
        first = next(section for section in candidates if section.priority == lowest)
        gone = [
            section
            for section in candidates
            if section is first
            or (
                first.block is not None
                and section.block == first.block
                and section.place is first.place
            )
        ]
        for section in gone:
            kept.remove(section)
            dropped.append(section.name)
            total -= len(section.text) + _OVERHEAD_CHARS
    if total > max_chars and kept:
        kept, name = _cut_longest(kept, total - max_chars)
        dropped.append(f"{name} (cut)")
    return Prompt(kept), dropped


def _cut_longest(kept: list[Section], excess: int) -> tuple[list[Section], str]:
    longest = max(kept, key=lambda section: len(section.text))
    text = longest.text[: max(1, len(longest.text) - excess)]
    cut = Section(longest.name, longest.role, text, longest.priority, longest.source, longest.place)
    return [cut if section is longest else section for section in kept], longest.name
