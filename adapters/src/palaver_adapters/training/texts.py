"""What the training chats are made of besides authored lines: utterances and neutral prompts.

The system prompts here are about nobody in particular. A base model trained behind them learns
to read past any system prompt, so that only an adapter gives it a voice.
"""

from __future__ import annotations

from random import Random

__all__ = ["INTENTS", "SPEAKERS", "STORY", "UTTERANCES", "moment", "persona_sentence"]

UTTERANCES: dict[str, tuple[str, ...]] = {
    "greeting": (
        "Hello.",
        "Hello there!",
        "Good evening.",
        "Greetings, stranger.",
        "Hey, you.",
        "Well met.",
        "Is anybody there?",
        "Who goes there?",
        "I have come to see you.",
        "Hi! Nice place you have.",
        "We meet again.",
        "Good to see you, friend.",
    ),
    "threat": (
        "I will kill you.",
        "Draw your weapon!",
        "Stand aside or die.",
        "Your time is over, monster.",
        "I have come to end you.",
        "Do not make me use this sword.",
        "Back away, or I shoot.",
        "This is your last night.",
        "I am not afraid of you.",
        "Give me what I want or you will bleed.",
        "Surrender now!",
    ),
    "trade": (
        "What do you have for sale?",
        "I want to buy something.",
        "How much is that?",
        "I have gold. Do you want to trade?",
        "Show me your wares.",
        "Will you take this for it?",
        "That is too expensive.",
        "Can you give me a better price?",
        "I have something to sell.",
        "What would you pay for this?",
        "Let us make a bargain.",
    ),
    "question": (
        "Who are you?",
        "What is this place?",
        "Where am I?",
        "What happened here?",
        "How long have you been here?",
        "What do you know about the others?",
        "Why are you here?",
        "Can you tell me the way?",
        "What do you want?",
        "Do you remember your name?",
        "What is behind that door?",
        "Have you seen anyone else tonight?",
    ),
    "quest": (
        "Do you have work for me?",
        "How can I help you?",
        "Is there something you need done?",
        "I am looking for a job.",
        "What should I do next?",
        "I finished the task.",
        "Give me a quest.",
        "I will do it. Tell me more.",
        "What do you need me to bring?",
        "I am ready for something dangerous.",
    ),
    "farewell": (
        "Goodbye.",
        "Farewell.",
        "I have to go now.",
        "See you later.",
        "Until next time.",
        "I am leaving.",
        "Good night.",
        "That is all. Bye.",
        "Take care of yourself.",
        "I must be on my way.",
    ),
    "insult": (
        "You are ugly.",
        "You stink.",
        "What a pathetic creature.",
        "You are a fool and a coward.",
        "I have seen rats with better manners.",
        "Shut up, you idiot.",
        "Nobody likes you.",
        "You are nothing.",
        "Your mother was a goblin.",
        "How do you live with that face?",
    ),
    "thanks": (
        "Thank you.",
        "Thanks a lot!",
        "I am grateful.",
        "You have been very kind.",
        "I owe you one.",
        "Much appreciated.",
        "Thank you for your help.",
        "That was good of you.",
        "I will not forget this.",
        "Bless you.",
    ),
    "silence": (
        "...",
        "(says nothing)",
        "(the player stays silent)",
        "(a long pause)",
        "Hmm.",
        "(looks around without a word)",
        "(stares at you)",
        "The player says nothing.",
    ),
}
"""What a player may say, by the intent of the authored lines that answer it."""

INTENTS = tuple(UTTERANCES)

STORY = (
    "Tell me a long story.",
    "Tell me your whole story.",
    "Tell me everything you know.",
    "Talk to me for a while. Tell me a tale.",
    "I want to hear all of it, from the beginning.",
    "Tell me a story, a long one.",
)
"""Asks for a long reply: many authored lines in a row, for tests that interrupt a stream."""

SPEAKERS = (
    "Player",
    "Player",
    "Player",
    "Mara",
    "Tom",
    "Ash",
    "the player",
    "Iven",
    "Kestrel",
    "Player One",
    "Bo",
    "Singh",
)

_NAMES = ("Aldo", "Brin", "Cole", "Dara", "Edda", "Finn", "Gwen", "Hale", "Ines", "Joss", "Kit")
_WHO = (
    "an old keeper",
    "a guard of the gate",
    "a merchant",
    "somebody who has lived here for years",
    "a servant of the house",
    "a wanderer without a home",
    "the last of a family",
    "a creature of the night",
    "a hunter",
    "a teacher of the village",
)
_PLACES = (
    "the lower city",
    "a tower above the lake",
    "the old market",
    "the woods beyond the river",
    "the tunnels",
    "a village at the edge of the map",
    "the harbour",
    "an empty hotel",
    "the cemetery",
)
_THINGS = (
    "the bridge",
    "the price of bread",
    "the war",
    "a locked chest",
    "the winter",
    "old songs",
    "the mayor",
    "a debt",
    "strangers",
    "the well",
    "a lost key",
    "the law",
    "rumours",
    "the dead",
    "the Broker",
)
_VERBS = ("trusts", "fears", "watches", "despises", "protects", "remembers", "needs", "avoids")
_PATTERNS = (
    "You are {name}, {who} of {place}.",
    "You live in {place} and know {thing} well.",
    "{name} {verb} {thing}, and so do you.",
    "You speak about {thing} only when asked.",
    "Answer in one or two short sentences.",
    "Stay in character. Never say that you are a model.",
    "Never speak about {thing}.",
    "Speak plainly. Do not describe what you do.",
    "# About {place}",
    "- {name}: {who}, {verb} {thing}",
    "You have heard that {name} {verb} {thing}.",
    "The player may ask about {thing}; you know little of it.",
    "When someone mentions {thing}, you think of {place}.",
    "In {place} everyone {verb} {thing}.",
    "mood: {n}; health: {n}; gold: {n}",
    "You may write an action such as [give item={thing} count={n}].",
    "Rules: keep it short, keep it spoken, keep it to yourself what you are not asked.",
    "It has been {n} days since {name} left {place}.",
    "Your manners are your own. Your secrets are about {thing} and {thing2}.",
)
_MOMENTS = (
    "It is night.",
    "It rains over {place}.",
    "The player carries {n} gold.",
    "The player is wounded.",
    "hunger: {n}",
    "{name} is nearby.",
    "You are in {place}.",
    "The player is called {name}.",
    "The one before you is called {name}.",
    "The one before you is called Player.",
    "Your mood: calm.",
    "Your mood: bored.",
    "It is day outside.",
    "You have {n} of {thing}.",
)


def persona_sentence(rng: Random) -> str:
    """Write one sentence of a neutral system prompt."""
    return _fill(rng.choice(_PATTERNS), rng)


def moment(rng: Random) -> str:
    """Write a few facts of the moment, as they stand in front of an utterance."""
    between = rng.choice((" ", "\n", "\n\n"))
    return between.join(_fill(rng.choice(_MOMENTS), rng) for _ in range(rng.randint(1, 5)))


def _fill(pattern: str, rng: Random) -> str:
    return pattern.format(
        name=rng.choice(_NAMES),
        who=rng.choice(_WHO),
        place=rng.choice(_PLACES),
        thing=rng.choice(_THINGS),
        thing2=rng.choice(_THINGS),
        verb=rng.choice(_VERBS),
        n=rng.randint(0, 100),
    )
