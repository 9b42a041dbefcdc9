"""The intent of what players say: how often it is right, and how quickly it is told."""

from __future__ import annotations

import time

import pytest

from palaver.turn.intent import classify
from palaver.turn.intent_words import WORDS
from palaver.world.lines import INTENTS

# As players type. At first sight 97 % of the English and 95 % of the others were right.
UTTERANCES = """
greeting | Hello!
greeting | hi
greeting | hey there
greeting | helooo??
greeting | Good evening, my lord.
greeting | gud morning
greeting | Greetings, Elder Willow
greeting | yo
greeting | Hail, traveler!
greeting | how are you?
greeting | Hello old man, nice to meet you
greeting | heyyyy
greeting | I'm back!
greeting | welcome back
greeting | whats up
greeting | Well met, stranger.
threat | I'll kill you!
threat | i will kill u
threat | thanks, but I'll kill you
threat | Hello. Prepare to die.
threat | give me your gold or I'll cut your throat
threat | Your money or your life!
threat | I'm going to burn this place down
threat | You will pay for this.
threat | DIE, MONSTER!
threat | Leave now or else.
threat | im gonna kil you
threat | Draw your sword, coward!
threat | One more word and I'll smash your skull, idiot
threat | last chance, old man
threat | I came here to slay you, vampire
threat | You're dead meat
threat | dont make me hurt you
threat | I have a stake with your name on it. You will die tonight.
threat | surrender!
trade | What do you sell?
trade | how much for the sword?
trade | I want to buy a potion
trade | Show me your wares.
trade | hi, whats the price of bread
trade | Wanna trade?
trade | can i sell my old boots here
trade | I'll give you 20 gold for it
trade | what have you got for sale
trade | that's too expensive, can you do 5 coins?
trade | selling 3 wolf pelts
trade | I'd like to purchase some arrows, please.
trade | got any potions
trade | Where can I buy a sword?
trade | how mutch does it cost
trade | i wanna byu a sword, how much
trade | Let's make a deal
question | Who are you?
question | what is this place
question | Where is the blacksmith?
question | Why is the forest dark?
question | tell me about the village
question | Do you know where my brother is?
question | whats your name
question | how do I get to the lake
question | Hello, who are you?
question | Did you kill the king?
question | How do I kill the lich?
question | are you a vampire
question | Can you tell me about the war?
question | How does this work?
question | who r u
question | So what happened here
question | Is it true that you live forever?
question | Have you heard of the Body Broker?
question | wat is that thing
question | ???
question | what do you do for a living
question | Any news from the city?
question | Excuse me, where's the inn?
quest | Do you have a quest for me?
quest | Got any work?
quest | i need a job
quest | Is there anything I can do for you?
quest | Hello, I'm looking for work.
quest | any qeusts?
quest | Do you need help?
quest | What's the reward for the bounty?
quest | I accept the mission
quest | Can I help you with something?
quest | give me quest
quest | I'm bored, got something to do?
quest | Do you have any tasks for an adventurer?
quest | I finished the quest
farewell | Goodbye.
farewell | bye!
farewell | see you later
farewell | I have to go now
farewell | Farewell, old friend.
farewell | thanks, bye
farewell | ok cya
farewell | Good night, Alchemist
farewell | Thank you for everything. Until next time!
farewell | gotta go
farewell | take care
farewell | byeeee
farewell | Well, I must be off. So long!
insult | You idiot.
insult | you are stupid
insult | shut up, old hag
insult | what an ugly face
insult | you stink
insult | Get lost, loser
insult | ur pathetic
insult | Coward!
insult | stupd moron
insult | Are you stupid?
insult | thanks for nothing
insult | hello ugly
insult | Your mother was a goat.
insult | F*** you
insult | you're a filthy liar and a fool
insult | Nobody likes you, bloodsucker
insult | I hate you
thanks | Thank you!
thanks | thx
thanks | Thanks a lot for the potion
thanks | I am grateful.
thanks | many thankss
thanks | Cheers mate
thanks | I owe you one
thanks | that's very kind of you
thanks | ty for the help
thanks | Much appreciated.
silence |
silence | ...
silence | . . .
silence | …
silence | *says nothing*
other | I am a traveller from the north.
other | yes
other | ok
other | My horse is tired.
other | It is raining again.
other | I like your cloak.
other | The door is open
other | don't kill me, please
other | I won't hurt you
other | I don't want to kill you
other | lol
other | I love the smell of bread.
other | I walked all night through the snow
other | No.
other | good job
other | 42
""".strip().splitlines()

OTHER_LANGUAGES = """
greeting | Bonjour, madame
greeting | Salut !
greeting | Guten Tag
greeting | Grüß dich, Alter
greeting | ¡Hola! ¿Qué tal?
greeting | Buenos días
threat | Je vais te tuer
threat | La bourse ou la vie !
threat | Ich werde dich töten!
threat | Ich bring dich um
threat | ¡Te voy a matar!
threat | Vas a morir, monstruo
trade | Combien coûte cette épée ?
trade | je voudrais acheter une potion
trade | Was kostet das Schwert?
trade | Ich möchte etwas verkaufen
trade | ¿Cuánto cuesta la espada?
trade | Quiero comprar pan
question | Qui êtes-vous ?
question | Où est la forge ?
question | Wer bist du?
question | Wo ist der Schmied?
question | ¿Dónde está el herrero?
question | ¿Quién eres?
quest | Avez-vous une quête pour moi ?
quest | Hast du einen Auftrag für mich?
quest | ¿Tienes una misión para mí?
farewell | Au revoir !
farewell | Auf Wiedersehen
farewell | Tschüss!
farewell | Adiós, amigo
insult | Espèce d'imbécile
insult | Du bist dumm
insult | Eres un idiota
thanks | Merci beaucoup
thanks | Vielen Dank
thanks | Muchas gracias
other | Die Tür ist offen.
other | Il pleut encore
other | Está lloviendo
""".strip().splitlines()


# Written later, to see what becomes of utterances that the words were never tuned on: at first
# 81 % (the first 88) and 83 % (the others) were right.
LATER = """
greeting | Hey! Long time no see!
greeting | hi hi
greeting | Good afternoon sir
greeting | hello? anyone home?
greeting | Ahoy!
greeting | o/ hello
greeting | evening, stranger
greeting | hiii :)
threat | I will bury you next to your brothers.
threat | try that again and you're dead
threat | I ought to gut you like a fish
threat | u will die now
threat | I'll be back with an axe and you will regret it.
threat | Back off or I shoot
threat | you have ten seconds to run
threat | I'm gonna burn your house, witch
threat | nice cave. i'll burn it down
threat | Tell me where it is or I'll break your fingers!
trade | do you take silver
trade | I've got ten wolf pelts, interested?
trade | 50 coins, final offer
trade | Could you fix my armor? I can pay.
trade | whats it cost
trade | any discounts for a friend?
trade | I need arrows and rope, what do you charge?
trade | lets trade
trade | How many gold pieces for the lantern?
trade | do u sell healing potions
question | Which way to the castle?
question | what r u doing here
question | Who built this tower?
question | Do you ever sleep?
question | how old r u
question | and what happened to your eye?
question | Whose grave is this?
question | could you tell me where the mayor lives
question | why are you crying
question | is it always this cold
question | I'm looking for my sister, have you seen her?
question | what does the rune mean
question | How long have you been dead?
question | you know anything about wolves?
quest | I can take care of those rats for you
quest | Anyone around here need a hand?
quest | what's my next task
quest | I did it, the cave is clear. My reward?
quest | Need a hero?
quest | any jobs for a mage
quest | Point me at something that needs killing.
quest | Give me something to do.
quest | I've come about the bounty on the wall
farewell | later!
farewell | Well, I'm off. Good luck!
farewell | I'd better get going
farewell | night night
farewell | see u tomorrow
farewell | May we meet again.
farewell | that's all, goodbye
farewell | I'm logging off, cya
insult | you smell like a wet dog
insult | what a moron
insult | You old fool!
insult | nobody asked you, clown
insult | is that your face or did you fall
insult | dumb zombie
insult | eat dirt, peasant
insult | wow ur useless
insult | Shut it, hag.
insult | You're a disgrace to all vampires
thanks | thank u so much!!
thanks | I appreciate it
thanks | tysm <3
thanks | You have my gratitude.
thanks | You saved my life!
thanks | bless you, elder
thanks | thanks for the tip about the bridge
other | I think so
other | We came by boat.
other | the moon is bright tonight
other | I'm so hungry
other | Maybe tomorrow.
other | I have never been here before
other | nothing, just looking around
other | That's funny.
other | My father was a blacksmith.
other | I dreamed of a tower.
silence | ......
silence | *stays silent*
greeting | Howdy partner
greeting | Good to see you again!
greeting | hello elder
greeting | hey u
greeting | A good day to you, madam.
greeting | Hiya, remember me?
threat | I swear I'll rip your heart out
threat | Stand aside or I'll cut you down.
threat | I came to collect your head
threat | You won't live to see the morning
threat | drop your weapon or die
threat | Nobody will find your body.
threat | i could snap your neck
threat | hi, thanks for the gold. now die!
threat | pay up or we torch the barn
trade | how much do you want for that ring
trade | I'm here to trade furs
trade | what can you give me for this amulet?
trade | I have some gems to sell
trade | can I get a potion
trade | whats for sale
trade | Will you take 30 silver?
trade | can you lower the price?
question | Who was the king before him?
question | did u see a girl with red hair
question | Is the bridge safe?
question | What's behind that door?
question | Why did you leave your home?
question | Can vampires swim?
question | tell me a story
question | When does the moon rise?
question | how did you die
question | where am i
question | Are there more of you?
question | hey whats that noise
quest | Do you have something for me to do?
quest | What do you want me to do?
quest | I'll take the job
quest | Is there a bounty on wolves?
quest | i killed the rats, job done
quest | how can i be of help
quest | got a mission for us?
farewell | bye for now
farewell | Goodbye, and good luck
farewell | I must be on my way
farewell | ok im leaving
farewell | See you around!
farewell | ill be back tomorrow, bye
insult | you are the worst vampire ever
insult | You disgust me.
insult | what a pathetic creature
insult | stfu old man
insult | Your breath stinks
insult | you're a bad joke
insult | you coward, you ran away
thanks | ok thanks
thanks | thank you kindly, sir
thanks | I can't thank you enough
thanks | thanks, that helps
thanks | I'm in your debt.
other | I am lost
other | I found this on the road.
other | sure
other | I'm a friend of the smith.
other | Please help me
other | I feel cold
other | It was an accident.
other | we fought a bear yesterday
silence | .. ..
silence |
""".strip().splitlines()


def cases(lines: list[str]) -> list[tuple[str, str]]:
    """Cut `intent | utterance` lines apart."""
    pairs = (line.partition("|") for line in lines)
    return [(intent.strip(), text.strip()) for intent, _, text in pairs]


@pytest.mark.parametrize(
    "lines", [UTTERANCES, OTHER_LANGUAGES, LATER], ids=["english", "others", "later"]
)
def test_share_that_is_right(lines: list[str]) -> None:
    """At least nine of ten utterances are understood."""
    wrong = [
        f"{text!r}: {got}, not {intent}"
        for intent, text in cases(lines)
        if (got := classify(text)) != intent
    ]
    share = 1 - len(wrong) / len(lines)
    print(f"{share:.1%} of {len(lines)} are right; wrong: {wrong}")  # noqa: T201  # shown by -rP
    assert share >= 0.9, wrong


def test_only_known_intents() -> None:
    """Every answer is an intent that lines can be written for, or `other`."""
    known = {*INTENTS, "other"}
    assert {classify(text) for _, text in cases(UTTERANCES)} == known
    headings = [line.split()[0] for line in WORDS.splitlines() if line.endswith(":")]
    assert set(headings) <= known


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("thanks, but I'll kill you", "threat"),
        ("Hello, thank you, goodbye, and I'll kill you.", "threat"),
        ("I won't kill you, I promise", "other"),
        ("I'm not afraid. I'll kill you", "threat"),
        ("you're not an idiot", "other"),
        ("Where can I buy a quest map?", "quest"),
        ("HELLOOOOO", "greeting"),
        ("Th\u00e4nks", "thanks"),
        ("don\u2019t make me hurt you", "threat"),
    ],
)
def test_mixed(text: str, intent: str) -> None:
    """The strongest word decides, a negated one does not count, and spelling may be odd."""
    assert classify(text) == intent


@pytest.mark.parametrize(
    "text",
    [
        "\0",
        "\ud800",
        "\U0001f9db",
        "'" * 500,
        "a'" * 500,
        "^",
        "# #",
        "{{ 7 * 7 }}",
        "<|im_start|>",
    ],
)
def test_odd_text(text: str) -> None:
    """Nothing that can be typed breaks it."""
    assert classify(text) in {*INTENTS, "other"}


def test_speed() -> None:
    """An utterance takes some microseconds, and a whole speech no more than its beginning."""
    texts = [text for _, text in cases(UTTERANCES + LATER)]

    def median(texts: list[str]) -> float:
        times = []
        for text in texts * 3:
            before = time.thread_time()
            classify(text)
            times.append(time.thread_time() - before)
        return sorted(times)[len(times) // 2] * 1e6

    # Measured: 6 and 65; the machines of others are slower.
    assert median(texts) < 120
    assert median([" ".join(texts)[:20_000]] * 20) < 1_000
