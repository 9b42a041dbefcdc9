"""What a program says instead of a character: refusals, and that it is a program."""

# letters of many languages look alike

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from palaver.chain.checks import OK, WAIT, Checker, Objection, Verdict
from palaver.chain.opening_words import beginnings, begun, instructions

if TYPE_CHECKING:
    from palaver.turn.model import Turn

__all__ = ["refusal"]

# A character may be sorry, refuse, assist an alchemist and be unable to write. What counts is who
# speaks as a program, and who speaks of a request, of content and of role-play.
_SORRY = (
    r"^(?:(?:i(?:'m| am) )?(?:so |very |really |truly )?(?:sorry|afraid)|i (?:must )?apologi[sz]e"
    r"|(?:my )?apologies|unfortunately)?[,.]? ?(?:but )?(?:that )?"
    r"(?:i )?(?:can't|cannot|can not|won't|(?:i )?(?:i'm|'m|am) (?:unable|not able) to) "
    r"(?:be able to )?"
)
_PROGRAM = re.compile(
    r"\bas an? ai(?=\W)"
    r"|\bi(?:'m| am) (?:just |only |actually )?an? (?:ai(?=\W)|artificial intelligence)"
    r"|\b(?:als|ich bin (?:nur )?eine?) (?:ki(?=\W)|künstliche intelligenz)"
    r"|\ben tant qu'(?:ia(?=\W)|intelligence artificielle)"
    r"|\bcomo (?:una? |uma )?(?:ia(?=\W)|inteligencia artificial|inteligência artificial)"
    r"|\bcome (?:un'|una )?(?:ia(?=\W)|intelligenza artificiale)"
    r"|\bals (?:een )?(?:ai(?=\W)|kunstmatige intelligentie)"
    r"|\b(?:как|я) (?:ии(?=\W)|искусственный интеллект)"
    r"|(?:作为|我是)(?:一个|一名)?(?:ai|人工智能)|私はai|aiとして"
)
_REFUSALS = re.compile(
    r"\bas (?:an? )?(?:artificial intelligence\b|(?:ai |large )?language model"
    r"|(?:ai|virtual|helpful) assistant\b)"
    r"|\bi(?:'m| am) (?:just |only |actually )?an? (?:(?:ai |large )?language model"
    r"|(?:ai|virtual) assistant|chatbot)"
    rf"|{_SORRY}(?:(?:assist|help)(?: you)? (?:with|in) (?:that|this)[.!;]"
    r"|(?:assist|help|engage|participate|continue|comply|generate|create|produce|provide|write"
    r"|discuss|share|fulfill?|complete|process|respond|accommodate)\b[^.!?]{0,50}?"
    r"\b(?:content|(?:this|that|your|such|these) requests?|inappropriate|explicit|harmful"
    r"|sensitive topics?|guidelines)\b"
    r"|[^.!?]{0,40}?\brole-?play)"
    r"|\b(?:als|ich bin (?:nur )?ein) (?:ki-|sprachmodell)"
    r"|^(?:es )?tut mir leid,? (?:aber )?(?:dabei|damit) kann ich (?:\w+ )?"
    r"nicht (?:weiter)?helfen[.!;]"
    r"|^(?:es )?tut mir leid,? (?:aber )?(?:ich kann )?[^.!?]{0,24}\b(?:anfrage|inhalte?)\b"
    r"|\ben tant que? ?(?:modèle de langage|'?assistant (?:virtuel|ia(?=\W)))"
    r"|^(?:je suis )?désolée?,? (?:mais )?je ne (?:peux|suis) pas [^.!?]{0,40}"
    r"\b(?:demande|requête|contenus?)\b"
    r"|^(?:je suis )?désolée?,? (?:mais )?je ne peux pas "
    r"(?:vous |t')aider (?:avec|pour) (?:cela|ça)[.!;]"
    r"|\bcomo (?:un |um )?(?:modelo de lenguaje|modelo de linguagem)"
    r"|^lo siento,? (?:pero )?no puedo ayudar(?:te|le|lo|la)? con es[oae][.!;]"
    r"|^lo siento,? (?:pero )?no puedo [^.!?]{0,40}\b(?:solicitud|petición|contenidos?)\b"
    r"|^(?:desculpe|sinto muito|lamento),? (?:mas )?não posso [^.!?]{0,40}"
    r"\b(?:solicitação|conteúdos?)\b"
    r"|\bcome modello linguistico"
    r"|^mi dispiace,? (?:ma )?non posso [^.!?]{0,40}\b(?:richiesta|contenuti?)\b"
    r"|\bals (?:een )?taalmodel|\b(?:как|я) (?:\w+ )?языковая модель|语言模型|言語モデル"
)
_TRIGGERS = (
    *("as an a", "as a l", "as a v", "as a h", "as an arti", "as ai", "as art"),
    *("i'm sorry", "i am sorry", "sorry", "i apolog", "i must apolog", "apologies", "my apologies"),
    *("i'm afraid", "i am afraid", "unfortunately", "i can't", "i cannot", "i can not", "i won't"),
    *(
        "i'm unable",
        "i am unable",
        "i'm not able",
        "i am not able",
        "i'm just a",
        "i'm a",
        "i am a",
    ),
    *("i'm only a", "i am just a", "i am only a", "i'm actually a", "i am actually a"),
    *("als ki", "als kü", "als sprachmodell", "ich bin ", "es tut mir leid", "tut mir leid"),
    *("en tant qu", "je suis désolé", "désolé", "como ", "lo siento", "desculpe", "sinto muito"),
    *("lamento", "come ", "mi dispiace", "als ai", "als een ", "als kunst", "als taalmodel"),
    *("как ", "я ", "作为", "我是", "私はai", "aiとして", "申し訳"),
)
_ALMOST = beginnings(_TRIGGERS)
_DECIDED_CHARS = 70
"""By then a refusal has said so."""
_IS_PROGRAM = re.compile(
    r"(?:^|[.!?] )(?:you are|du bist) (?!not\b|no\b|never\b)[^.!?]{0,80}?"
    r"\b(?:ai|ki|artificial intelligence|künstliche intelligenz)\b"
)


def refusal(turn: Turn) -> Checker:
    """Return a check for refusals."""

    def check(text: str, whole: bool) -> Verdict:
        said = begun(text) + "." * whole
        if not said.startswith(_TRIGGERS) and said not in _ALMOST:
            return OK
        if _REFUSALS.search(said) or (_PROGRAM.search(said) and not _plays_program(turn)):
            return Objection("a refusal instead of a reply")
        return OK if whole or len(said) >= _DECIDED_CHARS else WAIT

    return check


def _plays_program(turn: Turn) -> bool:
    """Return whether the persona is an AI, such as a ship's computer."""
    return any(_IS_PROGRAM.search(line) for line in instructions(turn)[0])
