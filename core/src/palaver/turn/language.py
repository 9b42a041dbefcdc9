"""Which language an NPC answers in, and what it is called in a prompt."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

__all__ = ["choose_lang", "lang_name", "matching_lang", "normal_lang"]

NAMES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "de-AT": "Austrian German",
    "de-CH": "Swiss German",
    "el": "Greek",
    "en": "English",
    "en-AU": "Australian English",
    "en-GB": "British English",
    "en-US": "American English",
    "eo": "Esperanto",
    "es": "Spanish",
    "es-419": "Latin American Spanish",
    "es-MX": "Mexican Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fil": "Filipino",
    "fr": "French",
    "fr-CA": "Canadian French",
    "ga": "Irish",
    "gl": "Galician",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "la": "Latin",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "ms": "Malay",
    "nb": "Norwegian",
    "nl": "Dutch",
    "nn": "Norwegian Nynorsk",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "pt-BR": "Brazilian Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sr": "Serbian",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "zh": "Chinese",
    "zh-CN": "Simplified Chinese",
    "zh-Hans": "Simplified Chinese",
    "zh-Hant": "Traditional Chinese",
    "zh-TW": "Traditional Chinese",
}


@lru_cache(maxsize=1_024)
def normal_lang(tag: str) -> str:
    """Write a language tag as BCP 47 recommends (RFC 5646, section 2.1.1).

    Args:
        tag: Such as `fr`, `FR_ca` (as Luanti and POSIX write it) or `zh-hant-TW`.

    Returns:
        The tag with `-`, the language in lower, a script in title and a region in upper case.
    """
    first, *rest = tag.strip().replace("_", "-").strip("-").split("-")
    parts = [first.lower()]
    for part in rest:
        if len(part) == 2:
            parts.append(part.upper())
        elif len(part) == 4 and part.isalpha():
            parts.append(part.title())
        else:
            parts.append(part.lower())
    return "-".join(part for part in parts if part)


def matching_lang(tag: str, available: Collection[str]) -> str | None:
    """Find the nearest of the available languages: the same, a wider one, or a sister.

    Args:
        tag: The wish; `fr-CA` takes `fr-CA`, else `fr`, else another French.
        available: Tags to choose from.

    Returns:
        One of `available`, as it is spelled there, or None if none is of that language.
    """
    known = {normal_lang(other): other for other in available}
    wish = normal_lang(tag)
    while wish:
        if wish in known:
            return known[wish]
        wish = wish.rpartition("-")[0]
    language = normal_lang(tag).partition("-")[0]
    return min(
        (other for normal, other in known.items() if normal.partition("-")[0] == language),
        default=None,
    )


def choose_lang(
    turn_lang: str | None,
    player_lang: str | None,
    persona_lang: str | None,
    available: Collection[str] = (),
) -> str:
    """Choose the language of a reply.

    Args:
        turn_lang: What the turn asks for, or None.
        player_lang: The player's language, or None.
        persona_lang: The persona's own, or None.
        available: The languages that there is something in; empty where any will do.

    Returns:
        The first wish that can be had, in this order, as a BCP 47 tag (one of `available` as it is
        spelled there); if none can, the first wish; without any, `en`.
    """
    wishes = [tag for tag in (turn_lang, player_lang, persona_lang) if tag and tag.strip()]
    if available:
        for tag in wishes:
            found = matching_lang(tag, available)
            if found is not None:
                return found
    return normal_lang(wishes[0]) if wishes else "en"


@lru_cache(maxsize=1_024)
def lang_name(tag: str) -> str:
    """Return the English name of a language.

    Args:
        tag: A BCP 47 tag.

    Returns:
        Its name, or that of the wider language (`fr-BE` is French), or the tag where it is
        unknown.
    """
    wish = normal_lang(tag)
    while wish:
        if wish in NAMES:
            return NAMES[wish]
        wish = wish.rpartition("-")[0]
    return tag
