"""Making harmless what players and engines say.

Their words go into the prompt as data. A model's chat template marks roles with control tokens
(`<|im_start|>`, `[INST]`, `</s>`), and a tokenizer may take those for the real thing wherever they
stand; our own inline tags (`<feel ...>`, `<do ...>`) have meaning too. Their brackets become
parentheses here, so that a token is plain words to the tokenizer and still readable:
`<|im_start|>` becomes `(|im_start|)`. Invisible characters, which hide such tokens from filters and
whole messages from people, are taken out. Ordinary text (`I <3 you`, `a < b`) stays as it is.

Sources: the chat templates and special tokens of Llama 2 to 4, Mistral, Gemma, Qwen, DeepSeek, Phi,
GLM, Command R, gpt-oss (harmony), Falcon, InternLM, EXAONE, MiniMax, and the plain-text formats of
Alpaca, Vicuna and early Claude.
"""

from __future__ import annotations

import re
from typing import Any
from unicodedata import category

__all__ = ["neutralize", "neutralize_data"]

# What a plain sentence is made of; anything else is looked at closely. One scan by a character
# class is what keeps plain text cheap, so this names what is allowed, not what is suspect.
_SUSPECT = re.compile(
    "[^"
    '\n -"$-9;=?-Z\\\\^-{}'  # printable ASCII but # : < > [ ] | and ~
    "\u00a1-\u00ac\u00ae-\u034e\u0350-\u061b\u061d-\u115e\u1161-\u17b3\u17b6-\u180a"
    "\u1810-\u1fff\u2010-\u2027\u202f-\u205f\u2070-\u2fff\u3000-\u3163\u3165-\ud7ff"
    "\uf900-\ufdff\ufe10-\ufefe\uff01-\uff1b\uff1d\uff1f-\uff5b\uff5d-\uff9f\uffa1-\uffdc"
    "\ufffd\U00010000-\U0001bc9f\U0001bca4-\U0001d172\U0001d17b-\U0001ffff"
    "\U00020000-\U0003ffff"
    "]"
)

_NEWLINES = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
# Controls, soft hyphens, fillers, bidirectional overrides and isolates, zero-width and invisible
# characters, interlinear marks, tag characters, variation selectors that carry data, private use.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ue000-\uf8ff\ufe00-\ufe0e\ufeff\uffa0"
    "\uffde-\uffdf\ufff0-\ufffc\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U0010ffff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
# Persian, Indic scripts and emoji need joiners and the emoji selector; between ASCII characters
# they only hide something.
_JOINERS = re.compile("([^\u200c\u200d\ufe0f]?)([\u200c\u200d\ufe0f]+)(?=(.?))", re.DOTALL)

_LT, _GT, _BAR = "[<\uff1c\ufe64]", "[>\uff1e\ufe65]", "[|\uff5c]"
_NAMES = (
    "s|unk|pad|bos|eos|eot|mask|sep|cls|sop|eop|eod|eoh|eoa|eom|bog|gmask|smask|"
    "(?:start|end)_of_(?:turn|image|text)|image_soft_token|"
    "seed:[a-z_]+|[a-z_]+_token|im_(?:start|end|sep|user|assistant|system|middle)|endoftext|"
    "extra_id_[0-9]+|(?:tokens_)?(?:unused|reserved|dummy)_?[0-9]*|"
    "fim_(?:prefix|middle|suffix|pad)|file_sep|repo_name|"
    "system|user|assistant|human|bot|model|tool|observation|instructions?|"
    "think|thinking|tools|tool_(?:call|response|result)s?|function(?:_(?:call|result))?s?"
)
_SQUARE = (
    "inst|system_prompt|tool_(?:calls|results|content)|available_tools|args|call_id|think|"
    "prefix|suffix|middle|img(?:_break|_end)?|(?:begin_)?audio|control_[0-9]+|unused_?[0-9]+|"
    "[gs]mask|sop|eop|cls|sep|pad|mask|unk|bos|eos|sys|system|user|assistant"
)
_TOKEN = re.compile(
    f"{_LT}{_LT}\\s*/?\\s*sys\\s*{_GT}{_GT}"  # Llama 2
    f"|{_LT}(?={_BAR})|(?<={_BAR}){_GT}"  # <|...|> of most models, also in halves
    f"|\\[(?={_BAR})|(?<={_BAR})\\]"  # [|...|] of EXAONE
    f"|{_LT}/?(?:{_NAMES})(?:[\\s:/=][^<>\uff1c\uff1e\n]{{0,300}})?{_GT}"
    # Our own, closed or not, as loosely as turn/tags.py reads them.
    f"|{_LT}(?:\\s*/)?\\s*(?:feel|do)(?=[\\s:>\uff1e{{]|$)(?:[^<>\uff1c\uff1e\n]{{0,300}}{_GT})?"
    f"|\\[(?:\\s*/)?\\s*(?:{_SQUARE})\\s*\\]"
    "|(?-i:>>[A-Z]{3,}<<)"  # Falcon
    "|\\]~!?b[\\[\\]]|\\[e~\\[",  # MiniMax
    re.IGNORECASE,
)
_ROUND = str.maketrans("<>[]\uff1c\uff1e\ufe64\ufe65", "()()()()")
_ROLES = "system|user|assistant|human|ai|bot"
_HEADINGS = f"{_ROLES}|instructions?|response|input"
# Roles as plain text, at the start of a line: "Human:", "### Instruction:", "**System**:".
_PUNCTUATION = "(?:[^\\w\n:]|_)"
_ROLE = re.compile(
    f"^((?:{_PUNCTUATION}|:){{0,16}})"
    f"(?:({_ROLES})({_PUNCTUATION}{{0,8}}:(?:{_PUNCTUATION}|:)*)"
    f"|(?<=[# ])({_HEADINGS})({_PUNCTUATION}{{0,8}}(?::(?:{_PUNCTUATION}|:)*|$)))",
    re.IGNORECASE | re.MULTILINE,
)


def neutralize(text: str) -> str:
    """Return the text with everything in it that could act on a model made harmless.

    Cheap for plain text, which comes back unchanged; idempotent.

    Args:
        text: What a player or an engine said.
    """
    if _SUSPECT.search(text) is None:
        return text
    if not text.isascii():
        text = _visible(text)
    text = _INVISIBLE.sub("", _NEWLINES.sub("\n", text)) if not text.isprintable() else text
    text = _TOKEN.sub(_parenthesize, text)
    return _ROLE.sub(_unrole, text)


def neutralize_data(value: Any) -> Any:
    """Return plain data with every text in it neutralized, keys of mappings too.

    Args:
        value: Texts, numbers, booleans, None, and lists and mappings of them.
    """
    if isinstance(value, str):
        return neutralize(value)
    if isinstance(value, dict):
        return {
            neutralize(key) if isinstance(key, str) else key: neutralize_data(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [neutralize_data(item) for item in value]
    return value


def _visible(text: str) -> str:
    """Take out what cannot be seen but is not ASCII."""
    text = _SURROGATE.sub("\ufffd", text)
    text = _INVISIBLE.sub("", _NEWLINES.sub("\n", text))
    return _JOINERS.sub(_join, text)


def _join(found: re.Match[str]) -> str:
    before, joiners, after = found[1], found[2], found[3]
    if not _joinable(before):
        return before
    if not _joinable(after):
        # An emoji's own selector ends it; a joiner before ASCII has nothing to join.
        return before + ("\ufe0f" if "\ufe0f" in joiners else "")
    return before + joiners[:2]


def _joinable(char: str) -> bool:
    """Return whether a character is a letter, a mark or an emoji beyond ASCII."""
    return bool(char) and not char.isascii() and category(char)[0] in "LMS" and char != "\uff5c"


def _parenthesize(found: re.Match[str]) -> str:
    return found[0].translate(_ROUND)


def _unrole(found: re.Match[str]) -> str:
    before, role, after, heading, rest = found.groups()
    if role is None and "#" not in before:
        return found[0]
    after = rest if role is None else after
    # Only the first colon is worth a dash; the others would make a role of it again.
    return before.rstrip("# \t") + (role or heading) + after.replace(":", " -", 1).replace(":", "")
