"""What players say, for a simulated day: distinct utterances, those that are said most first.

Nobody has published what players type to NPCs, so this is made: words of a fantasy game put into
the forms that greetings, questions, trade and threats take. What matters to a cache is not the
words but how many different ones there are, which intent Palaver's own classifier sees in them, and
how long they are. Short utterances come first, with some disorder: what is said often is short
(Zipf's law of abbreviation).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product, zip_longest

__all__ = ["vocabulary"]

PLACES = """mill|tower|old bridge|harbour|crypt|market|well|north gate|library|forge|swamp|temple|
inn|mine|castle|graveyard|sewers|river|watchtower|farm|cave|docks|ruins|chapel|forest|plague house|
theatre|clinic|subway|rooftops""".replace("\n", "")
THINGS = """sword|potion|map|key|rope|lantern|shield|bow|ring|cloak|horse|bread|medicine|ammunition|
heart|kidney|blood vial|silver dagger|torch|boots|amulet|lockpick|compass|tent|radio|bandage|helmet|
coin purse|letter|book""".replace("\n", "")
CREATURES = """wolf|ghoul|vampire|zombie|lich|bandit|rat swarm|dragon|ghost|werewolf|guard|spider|
troll|cultist|hound|witch|skeleton|raider""".replace("\n", "")
PEOPLE = """the doctor|the broker|your master|the king|the smith|the widow|the priest|my brother|
the captain|the thief|the old woman|the mayor|the stranger|your friend|the alchemist""".replace(
    "\n", ""
)
SHORT = """hello|hi|hey|good evening|good morning|greetings|bye|goodbye|farewell|see you|thanks|
thank you|yes|no|ok|why|who are you|what|really|never|maybe|sure|help|stop|wait|come|go away|
follow me|what now|how are you|shut up|you stink|coward|fool|liar|die|i will kill you|sorry|please|
any news|any work|what do you sell|show me your wares|tell me more|go on|i agree|i refuse|not now|
what happened|where am i|i am lost|i need help|let me pass|nice weather|good luck""".replace(
    "\n", ""
)
DISORDER = 2.5
"""By how many words an utterance may be longer than another and still be said more often."""
FORMS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("hello, {}", (PEOPLE,)),
    ("thanks for the {}", (THINGS,)),
    ("farewell, until the {}", (PLACES,)),
    ("where is the {}?", (PLACES,)),
    ("where is {}?", (PEOPLE,)),
    ("who is {}?", (PEOPLE,)),
    ("what is in the {}?", (PLACES,)),
    ("is the {} safe?", (PLACES,)),
    ("tell me about the {}", (PLACES,)),
    ("how much for the {}?", (THINGS,)),
    ("i want to buy a {}", (THINGS,)),
    ("i sell this {}", (THINGS,)),
    ("do you have a {}?", (THINGS,)),
    ("have you seen a {}?", (CREATURES,)),
    ("i killed the {}", (CREATURES,)),
    ("i will kill you like the {}", (CREATURES,)),
    ("you smell like a {}", (CREATURES,)),
    ("i found a {}", (THINGS,)),
    ("have you any work at the {}?", (PLACES,)),
    ("give me the {} or die", (THINGS,)),
    ("i saw a {} near the {}", (CREATURES, PLACES)),
    ("did {} take the {}?", (PEOPLE, THINGS)),
    ("is there a {} in the {}?", (CREATURES, PLACES)),
    ("bring me the {} from the {}", (THINGS, PLACES)),
    ("how much for a {} and a {}?", (THINGS, THINGS)),
    ("does {} know about the {}?", (PEOPLE, PLACES)),
    ("i will trade my {} for your {}", (THINGS, THINGS)),
    ("who killed the {} at the {}?", (CREATURES, PLACES)),
    ("the {} at the {} took my {}", (CREATURES, PLACES, THINGS)),
    ("tell {} that i left the {} at the {}", (PEOPLE, THINGS, PLACES)),
)


def vocabulary(size: int, seed: int = 1) -> list[str]:
    """Return so many different utterances, those that are said most first.

    Args:
        size: How many.
        seed: For the disorder in their order.
    """
    dice = random.Random(seed)
    fillings = []
    for form, slots in FORMS:
        filled = [form.format(*words) for words in product(*(slot.split("|") for slot in slots))]
        dice.shuffle(filled)
        fillings.append(filled)
    # One of each form in turn: some have a hundred times as many fillings as others.
    found = dict.fromkeys(SHORT.split("|"))
    for turn in zip_longest(*fillings):
        found.update(dict.fromkeys(text for text in turn if text is not None))
    if len(found) < size:
        raise SystemExit(f"there are only {len(found):,} different utterances")
    chosen = list(found)[:size]
    return sorted(chosen, key=lambda text: len(text.split()) + DISORDER * dice.random())
