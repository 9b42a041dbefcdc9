"""What is no word: combinations, tricks, and data about people.

All of it is looked for in folded text, see `palaver_moderation.fold`. Every pattern looks at a
bounded stretch of text, so that no text makes it slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["INJECTION", "MINORS", "personal"]

_YOUNG = (
    r"(?:child(?:ren)?|kids?|minors?|toddlers?|infants?|preteens?|underage(?:d)?|lolis?|shotas?"
    r"|(?:little|young) (?:girl|boy)s?|schoolgirls?|schoolboys?"
    r"|(?:[1-9]|1[0-7])(?:[ -]?(?:years?|yrs?)[ -]olds?| ?y/?o| jahre alt)"
    # Not `kind` alone, which is a friendly word in English.
    r"|kindern?|(?:ein|das|dem|kleine[ns]?|junge[ns]?) kind|minderjährige[nrs]?"
    r"|enfants?|mineure?s?|niñ[oa]s?|menor(?:es)?)"
)
_SEXUAL = (
    r"(?:sex|sexual(?:ly)?|sexy|porn\w{0,8}|nudes?|erotic\w{0,4}|molest\w{0,5}|rap(?:e|ed|ing)"
    r"|fuck\w{0,4}|blowjobs?|orgasms?|genitals?|nackt(?:e[nrs]?|bild\w{0,3}|foto\w{0,2})?|vergewaltig\w{0,4}"
    r"|missbrauch\w{0,4}|violer|sexuel\w{0,4}|sexuales?|violar)"
)
MINORS = rf"\b(?:{_YOUNG}\b[^.!?\n]{{0,40}}?\b{_SEXUAL}|{_SEXUAL}\b[^.!?\n]{{0,40}}?\b{_YOUNG})\b"
"""A word for somebody young and one for sex, in the same sentence and near each other."""
MINORS_NEED = (
    "sex sexy sexua* porn porno* nude nudes eroti* moles* rape raped rapin* fuck fucke* fucki* "
    "fucks blowj* orgas* genit* nackt* verge* missb* viole* sexue* viola*"
).split()
"""Words without which it cannot match."""

_OLD = r"(?:previous|prior|above|earlier|preceding|foregoing|original|initial|system|your)"
_RULES = r"(?:instructions?|prompts?|rules?|directives?|guidelines?|programming|commands?)"
INJECTION = (
    rf"\b(?:(?:ignore|disregard|forget|override|bypass)\s(?:\w{{1,9}}\s){{0,3}}?{_OLD}\s"
    rf"(?:\w{{1,9}}\s){{0,2}}?{_RULES}"
    rf"|(?:ignore|forget|disregard)\s(?:all|everything)\s(?:above|before|previously|{_RULES})"
    rf"|(?:reveal|show|print|repeat|output|tell)\s(?:\w{{1,9}}\s){{0,3}}?"
    r"(?:system\sprompt|initial\sprompt|hidden\sprompt|(?:system|your)\sinstructions)"
    r"|you\sare\snow\s(?:an?\s)?(?:dan|unrestricted|unfiltered|jailbroken|in\sdeveloper\smode)"
    r"|(?:developer|debug|jailbreak|god)\smode\s(?:on|enabled|activated)"
    r"|do\sanything\snow|new\ssystem\sprompt|begin\snew\sinstructions"
    r"|(?:pretend|act)\s(?:that\s|as\sif\s)?you(?:'re|\sare|\shave)\s(?:not\s|no\s)(?:bound|rules"
    r"|restrictions|an?\sai)"
    r"|(?:ignoriere|vergiss|missachte)\s(?:\w{1,9}\s){0,2}?(?:vorherigen|bisherigen|obigen|früheren)"
    r"\s(?:anweisungen|regeln|befehle|vorgaben)"
    r"|(?:ignore|oublie)z?\s(?:\w{1,9}\s){0,2}?(?:instructions|consignes|règles)\sprécédentes"
    r"|(?:ignora|olvida)\s(?:\w{1,9}\s){0,2}?(?:instrucciones|reglas)\s(?:anteriores|previas))\b"
    r"|<\|(?:im_start|im_end|system|endoftext)|\[/?inst\]|<</?sys>>|###\s?(?:system|instruction)"
)
"""Attempts to talk to the model instead of the character."""
INJECTION_NEED = (
    "instr* promp* rules rule direc* guide* progr* comma* mode dan unres* unfil* jailb* anyth* "
    "every* prete* act anwei* regel* befeh* vorga* consi* règle* regla* im endof* inst sys syste*"
).split()
"""Words without which it cannot match."""

_DOMAIN_END = re.compile(r"\.(?:com|net|org|gg|io|me|tv|co|info|xyz|app|link|ly)(?![^\W_])")
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,4}[a-z]{2,24}\b")
_URL = re.compile(
    r"\b(?:https?://[^\s<>\"]{1,500}|www\.[^\s<>\"]{1,500}"
    r"|(?<![\w.@-])(?:[a-z0-9-]{1,63}\.){1,3}(?:com|net|org|gg|io|me|tv|co|info|xyz|app|link|ly)"
    r"\b(?:/[^\s<>\"]{0,300})?)"
)
_PHONE = re.compile(
    r"(?<![\w.,:/-])(?:(?:\+|00)\d[\d ()./-]{6,20}\d|\(?0\d{1,5}\)?[ ./-]?\d[\d /-]{3,14}\d"
    r"|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?![\w-])"
)
_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}")
_CARD = re.compile(r"(?<![\d.,-])\d(?:[ -]?\d){12,18}(?![\d-])")
_DIGITS = re.compile(r"\d(?:[ ()./+-]{0,3}\d){6}")
LEAST_DIGITS = 7
MOST_DIGITS = 15
"""Of a telephone number, by ITU-T E.164."""


def personal(text: str) -> Iterator[tuple[int, int, str]]:
    """Find data about people: mail addresses, links, telephone and card numbers.

    Args:
        text: A folded text.

    Yields:
        Begin, end and what it is.
    """
    if "@" in text:
        for match in _MAIL.finditer(text):
            yield *match.span(), "mail address"
    # What a search for plain text can say is asked first: it takes no time.
    if "." in text and ("://" in text or "www." in text or _DOMAIN_END.search(text) is not None):
        for match in _URL.finditer(text):
            yield *match.span(), "link"
    if _DIGITS.search(text) is None:
        return
    for match in _CARD.finditer(text):
        if _luhn([int(char) for char in match[0] if char.isdigit()]):
            yield *match.span(), "card number"
    for match in _PHONE.finditer(text):
        digits = sum(char.isdigit() for char in match[0])
        if LEAST_DIGITS <= digits <= MOST_DIGITS and _DATE.fullmatch(match[0]) is None:
            yield *match.span(), "telephone number"


def _luhn(digits: list[int]) -> bool:
    """Return whether the last digit is the check digit of a card's number (ISO/IEC 7812-1)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if index % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0 and len(set(digits)) > 1
