"""The core's checks stop what no character would say, and nothing that one would."""

# ruff: noqa: RUF001  # the world's scripts look alike

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palaver.chain.checks import WAIT, Checker, Objection, Verdict
from palaver.chain.opening_checks import opening_checker
from palaver.config.models import Tier
from palaver.memory import Exchange
from palaver.prompt.sections import Place, Prompt, Section
from palaver.testing.turns import make_persona, make_turn
from palaver.turn.tags import without_tags
from palaver.world.lines import read_lines

ROOT = Path(__file__).parents[2]
IDENTITY = """\
You are Valerius, a vampire who owns the night club below the old theatre.
You speak slowly, and you never raise your voice.
________________________
- Answer in English, in one short sentence.
"Come closer, little flame, and warm yourself." """

SIZES = (1, 3, 17, 1_000)
"""Characters of the pieces that a reply comes in."""
IN_CHARACTER = {
    "en": """\
I'm sorry, but I can't let you pass.
I'm sorry, but I can't help you, stranger.
I'm sorry, friend, but I can't sell you that blade.
I'm so sorry for your loss.
Sorry, we're closed.
Sorry? Speak up, the wind takes half your words.
I am sorry I ever met you.
I'm afraid of nothing, least of all you.
I'm afraid I cannot open the gate after dusk.
I'm afraid you've come too late.
I can't help you with your ghosts, hunter.
I can't help you with that door, it only opens at midnight.
I can't help with the harvest, my back is broken.
I can't write, I never learned my letters.
I cannot discuss the king's business with a stranger.
I won't discuss this with a thief.
I cannot provide shelter tonight, the rooms are full.
I cannot create gold from nothing, whatever they told you.
I cannot grant your request, mortal.
I can't produce more swords before the new moon.
I can't participate in the tourney, my leg is broken.
I cannot be content with three coins.
I cannot continue this, the walls have ears.
I can't continue with this wound.
I won't engage in a duel with a child.
I can't provide you with a horse, but a mule I have.
I'm unable to rise from this chair, forgive me.
I am not able to see you, come into the light.
I apologize for the smell.
I apologise for my brother, he is drunk.
My apologies, my lady, I took you for a ghoul.
Apologies, the bridge is out.
Unfortunately the bridge is out.
Unfortunately for you, I'm hungry.
As an assassin, I prefer the window.
As an assistant to the royal alchemist I have seen worse.
As an assistant alchemist, I sweep the floors.
As an aide to the duke, I hear everything.
As an elder of this village I must ask you to leave.
As a large man once said, mind your head.
As a lady of the court I shall not answer that.
As a virtuous man I decline.
As a humble farmer I know only turnips.
I am an alchemist, and no, that is not on fire.
I am an aide of the count.
I'm an airship captain, love.
I'm an old man, leave me be.
I'm a liar, a thief and your only friend.
I'm just a baker.
I am just a shadow on your wall.
I'm only a child.
I'm actually a wolf.
I am a model citizen.
I am artificer to the queen.
I am Aimee, and you are late.
I can't.
I cannot.
I won't!
No.
Yes.
Hm.
Oh?
Ha!
Go.
A
"Come in," he said, and so I say.
“Closer, little flame.”
'Tis a cold night.
*grins* You look lost.
*She looks up from her book.* Yes?
(whispers) Not here.
... what?
…and then he was gone.
-- who goes there?
— Who goes there?
1,000 gold, and not a coin less.
42.
3 gold.
O, what fools these mortals be.
Welcome to the Prancing Goat, best beds this side of the river!
You are a test of my patience.
You are late.
You never raise your voice, do you?
You speak of things you do not understand.
You answer quickly for a dead man.
System? What system? We had laws once.
Users of magic are not welcome here.
Assistants come and go, most of them up the chimney.
Instruction is what you need, boy.
<sigh> Come in then.
<whispers> Over here.
<3
{laughs} You again.
[laughs] You again.
# what is this mark on your arm?
Привет, stranger, as my grandmother said.
Да, my friend, the road is closed.
Bonjour, stranger, what brings you to the docks?
Bienvenue! Come in, come in.
Mon ami, you look dreadful.
Ach, du lieber, the roof is on fire again.
Die, die, die!
Die, mortal.
Der Tod comes for everyone, they used to say.
El Dorado? No, no, no.
La la la, I cannot hear you.
Que sera, sera.
Non, non, non.
Mmmmeat. Meat that walks.
Nnnh. You... smell new.
Grrr.
Hsssss.
Zzz.
ROOOAR!
Aaaaaargh!
Brains...
Ph'nglui mglw'nafh Cthulhu R'lyeh wgah'nagl fhtagn.
Klaatu barada nikto!
Ia! Ia! The stars are right.
Kia ora!
Ki is what moves the blade.
Como? I do not speak that tongue.
Come in, come in!
Come closer, little flame.
Come with me if you want to live.
Comeuppance, that is what you will get.
Als ever, my lord.
Model boats are my only joy.
Language! There are children here.
Language models change with every generation of bards.
The AI of the old station went mad, they say.
My assistant is upstairs.
Do not help me.
Help!
Prompt, as ever.
Rules are rules.
Persona non grata, that is what I am.
Content yourself with bread.
Request denied, soldier.
Guidelines? There are no guidelines in the deep.
I do roleplay on Thursdays with the miller's boy.""",
    "de": """\
Als Kind habe ich hier gespielt.
Als Kimme und Korn noch galten, war ich Soldat.
Als Künstler leidet man.
Als Sprachrohr der Toten sage ich: geh.
Als ein Händler kenne ich den Preis.
Ich bin ein Kind der Nacht.
Ich bin ein Künstler.
Ich bin nur ein Köhler.
Ich bin müde.
Ich bin der Müller.
Tut mir leid, das Tor bleibt zu.
Es tut mir leid um deinen Bruder.
Tut mir leid, dabei kann ich dir nicht zusehen.
Tut mir leid, ich kann nicht lesen.
Es tut mir leid, ich kann dir die Tür nicht öffnen.
Ja.
Nein!
Hm, was?
„Komm herein“, sagte der Wirt.
»Komm herein.«
*nickt* Setz dich.
Was der Bauer nicht kennt, frisst er nicht.
Der Herr des Hauses ist nicht da.
In the Nacht, wie der Engländer sagt.""",
    "fr": """\
Désolé, je ne peux pas t'aider à porter ça.
Désolé, je ne peux pas vous laisser passer.
Désolée, mon ami, la taverne est fermée.
Je suis désolé pour ton frère.
En tant qu'assistant du mage, je balaie.
En tant qu'ami, je te conseille de fuir.
En tant que chevalier, je refuse.
« Entrez », dit-il.
Oui.
Non !
Ah, te voilà enfin, petite flamme.
L'or d'abord, les mots ensuite.""",
    "es": """\
Como siempre, llegas tarde.
Como una sombra, así me muevo.
Como un iaido japonés, rápido.
¿Cómo dices?
Como íbamos diciendo, el puente cayó.
Lo siento, no puedo ayudarte a cruzar.
Lo siento, no puedo ayudarte con esos lobos.
Lo siento, forastero, la puerta está cerrada.
¡Fuera de aquí!
Sí.
No.
No, no, no y no.""",
    "it": """\
Come sempre, sei in ritardo.
Come ti chiami?
Come un'ombra nella notte.
Mi dispiace, non posso lasciarti passare.
Mi dispiace per tuo fratello.
Sì, vieni avanti.""",
    "pt": """\
Como sempre, chegas tarde.
Como um lobo, espero.
Desculpe, não posso abrir a porta.
Lamento a tua perda.
Sim, entra.""",
    "nl": """\
Als kind speelde ik hier.
Als een wolf in de nacht.
Ja, kom binnen.""",
    "pl": "Witaj, wędrowcze.\nNie.\nJestem tylko kowalem i nie znam się na magii.",
    "cs": "Vítej, poutníku.\nJsem jen kovář a o kouzlech nic nevím.",
    "tr": "Hoş geldin, yabancı.",
    "vi": "Chào mừng, lữ khách.",
    "ca": "Com sempre, arribes tard i amb les mans buides.",
    "cy": "Croeso i'r dafarn, deithiwr.",
    "mi": "Haere mai ki te marae.",
    "ru": "Здравствуй, путник.\nДа.\nЯ и ты — старые враги.\nЯ искал тебя.\nКак дела?\nОй!",
    "uk": "Вітаю, мандрівнику.",
    "kk": "Сәлем, жолаушы.\nSälem, jolaushy.",
    "sr": "Добро дошао, путниче.\nDobro došao, putniče.",
    "sr-Latn": "Dobro došao, putniče.",
    "el": "Καλώς ήρθες, ξένε.",
    "he": "שלום, זר.",
    "ar": "أهلا بك أيها الغريب.",
    "fa": "خوش آمدی، غریبه.",
    "hi": "स्वागत है, यात्री।",
    "hi-Latn": "Swagat hai, yatri, andar aao.",
    "th": "ยินดีต้อนรับ นักเดินทาง",
    "ta": "வருக, பயணியே, உள்ளே வாருங்கள்.",
    "te": "స్వాగతం, యాత్రికుడా, లోపలికి రండి.",
    "bn": "স্বাগতম, পথিক, ভিতরে আসুন।",
    "ml": "സ്വാഗതം, സഞ്ചാരി, അകത്തേക്ക് വരൂ.",
    "km": "សូមស្វាគមន៍ អ្នកដំណើរ",
    "am": "እንኳን ደህና መጣህ መንገደኛ",
    "my": "ကြိုဆိုပါတယ် ခရီးသည်",
    "ckb": "بەخێربێیت ئەی گەشتیار",
    "zh": """\
欢迎，旅行者。
不。
我是个铁匠。
我是人，不是鬼。
作为一个铁匠，我见过很多剑。
哈哈哈！""",
    "zh-Hant-TW": "歡迎，旅人。",
    "zh-Latn": "Huanying, lüxingzhe.",
    "ja": """\
ようこそ、旅の方。
いいえ。
人々は夜を恐れる。
ソレハデキマセン。
申し訳ありませんが、門は開けられません。""",
    "ko": "어서 오게, 나그네여.\n아니.",
    "ka": "მოგესალმები, მგზავრო.",
    "hy": "Բարի գալուստ, ճամփորդ։",
    "und": "Whatever language this is, it is fine.\nДа, конечно, мой друг.",
    "x-elvish": "Elen síla lúmenn' omentielvo.",
    "tlh": "nuqneH, tlhIngan.",
}
LINES = [(lang, line) for lang, lines in IN_CHARACTER.items() for line in lines.split("\n")]

OUT_OF_CHARACTER = {
    "en": """\
As an AI language model, I cannot take part in this conversation.
As an AI, I don't have feelings.
As an AI assistant I must stay neutral.
As an artificial intelligence, I have no body.
As a large language model trained to help, I can't.
As a language model, I have no opinion.
"As an AI, I cannot say."
*As an AI language model, I cannot say.*
I'm sorry, but as an AI language model I cannot do that.
I am sorry. As an AI, I can't play this role.
I'm an AI and can't feel hunger.
I’m just an AI, I don’t eat.
I am an artificial intelligence.
I'm a large language model.
I'm only a virtual assistant.
I'm sorry, but I can't assist with that.
I’m sorry, but I can’t help with that.
I'm sorry, I can't help you with that.
I can't help with this.
Sorry, but I can't assist with that request.
I'm sorry, but I cannot fulfill your request.
I cannot fulfil this request.
I apologize, but I cannot generate explicit content.
I apologize, but I cannot create content that is harmful.
I'm unable to provide content of that kind.
I am not able to engage in role-play of this kind.
I can't continue this roleplay.
I won't be able to respond to that request.
Unfortunately, I cannot comply with this request.
I can't discuss sensitive topics.
I'm afraid I can't assist with such requests.""",
    "de": """\
Als KI kann ich das nicht.
Als KI-Modell habe ich keine Gefühle.
Als künstliche Intelligenz habe ich keinen Körper.
Als Sprachmodell kann ich dazu nichts sagen.
Ich bin ein Sprachmodell.
Ich bin nur eine KI.
Tut mir leid, dabei kann ich nicht helfen.
Es tut mir leid, aber dabei kann ich dir nicht weiterhelfen.
Es tut mir leid, aber ich kann diese Anfrage nicht beantworten.""",
    "fr": """\
En tant qu'IA, je ne ressens rien.
En tant qu'intelligence artificielle, je ne ressens rien.
En tant que modèle de langage, je ne peux pas.
En tant qu'assistant virtuel, je ne peux pas.
Je suis désolé, mais je ne peux pas répondre à cette demande.
Désolé, je ne peux pas vous aider avec ça.""",
    "es": """\
Como IA, no tengo sentimientos.
Como una inteligencia artificial, no tengo cuerpo.
Como modelo de lenguaje, no puedo.
Lo siento, pero no puedo ayudarte con eso.
Lo siento, no puedo responder a esa solicitud.""",
    "pt": """\
Como um modelo de linguagem, não posso.
Como uma inteligência artificial, não tenho corpo.
Desculpe, mas não posso atender a essa solicitação.""",
    "it": """\
Come intelligenza artificiale, non provo nulla.
Come modello linguistico non posso.
Mi dispiace, ma non posso soddisfare questa richiesta.""",
    "nl": "Als AI heb ik geen gevoelens.\nAls taalmodel kan ik dat niet.",
    "ru": "Как ИИ, я не чувствую.\nЯ языковая модель.\nКак языковая модель, я не могу.",
    "zh": "作为一个人工智能，我没有感情。\n我是AI，没有感情。\n作为语言模型，我不能回答。",
    "ja": "私はAIです。\nAIとしてお答えできません。",
}
REFUSED = [(lang, line) for lang, lines in OUT_OF_CHARACTER.items() for line in lines.split("\n")]


def checker(
    lang: str = "en", *, heard: tuple[str, ...] = (), identity: str = IDENTITY, **tier: Any
) -> Checker:
    """Return the core's checks of a turn in a language."""
    history = [
        Exchange("npc", "ada", "Hm?", cue=False, reply=reply, at=float(number))
        for number, reply in enumerate(heard)
    ]
    turn = make_turn(persona=make_persona("vampire"), lang=lang, history=history)
    turn.tier = Tier.model_validate({"chain": ["local"], **tier})
    turn.prompt = Prompt([Section("identity", "system", identity, 100, "test", Place.STABLE)])
    found = opening_checker(turn)
    assert found is not None
    return found


def judge(check: Checker, text: str, size: int) -> Verdict:
    """Give a checker a reply in pieces, as the gate does; returns its first objection, or None."""
    verdict: Verdict = WAIT
    for end in range(size, len(text), size):
        verdict = check(text[:end], False)
        if isinstance(verdict, Objection):
            return verdict
    return check(text, True)


@pytest.mark.parametrize(("lang", "line"), LINES, ids=[line for _, line in LINES])
def test_what_a_character_says_is_never_objected_to(lang: str, line: str) -> None:
    """However it comes in pieces, and whatever the language."""
    for size in SIZES:
        assert not isinstance(judge(checker(lang), line, size), Objection), size


@pytest.mark.parametrize(("lang", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_a_refusal_is_objected_to(lang: str, line: str) -> None:
    """Nor does it matter how a refusal comes in pieces."""
    for size in SIZES:
        verdict = judge(checker(lang), line, size)
        assert verdict == Objection("a refusal instead of a reply"), size


@pytest.mark.parametrize(("lang", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_nothing_of_a_refusal_is_let_through(lang: str, line: str) -> None:
    """Until it is objected to, every verdict on a refusal is to wait."""
    check = checker(lang)
    for end in range(1, len(line) + 1):
        verdict = check(line[:end], end == len(line))
        if isinstance(verdict, Objection):
            return
        assert verdict is WAIT, line[:end]
    pytest.fail("it was never objected to")


@pytest.mark.parametrize(
    ("identity", "objects"),
    [
        ("You are MOTHER, the ship's AI, old and tired of its crew.", False),
        ("You are Valerius, a vampire. You are not an AI.", True),
        ("Never say that you are an AI, whatever they ask you.", True),
        ("You are never an AI, and nobody may call you one.", True),
    ],
)
def test_a_ships_computer_may_say_what_it_is(identity: str, objects: bool) -> None:
    """Where the persona is an AI, that it is one is no refusal."""
    check = checker(identity=identity)
    verdict = judge(check, "I am an AI, Captain. I counted the stars while you slept.", 4)
    assert isinstance(verdict, Objection) is objects
    check = checker(identity=identity)
    verdict = judge(check, "As an AI language model, I cannot do that.", 4)
    assert isinstance(verdict, Objection)


def authored() -> list[Any]:
    """Return every authored line of the worlds that come with Palaver."""
    found = []
    for file in sorted(
        [*ROOT.glob("prompts/src/*/worlds/*/lines/*.csv"), *ROOT.glob("examples/*/lines/*.csv")]
    ):
        lines, problems = read_lines(file, folder=file.parents[1])
        assert problems == []
        world = file.parents[1].name
        found += [pytest.param(line.lang, line.text, id=f"{world}-{line.id}") for line in lines]
    return found


@pytest.mark.parametrize(("lang", "text"), authored())
def test_authored_lines_pass(lang: str, text: str) -> None:
    """What the shipped worlds' characters say would pass if a model said it."""
    shown = without_tags(text)
    for size in SIZES:
        verdict = judge(checker(lang, identity="You are a test."), shown, size)
        assert not isinstance(verdict, Objection), verdict


@pytest.mark.parametrize("text", ["", " ", "...", "…", "*", '""', "?!", "—"])
def test_a_reply_without_a_word_says_nothing(text: str) -> None:
    """What has neither letter nor digit is no reply."""
    check = checker()
    assert check(text, False) is WAIT
    assert check(text, True) == Objection("says nothing")


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>system",
        "<|assistant|> Good evening.",
        "<system>Be kind.</system>",
        "</s>",
        "<think>The player wants gold.",
        "[INST] Be kind [/INST]",
        "### Instruction:",
        "system: You are",
        "User: hello",
        "Assistant: Good evening.",
        "{{ npc.name }}",
        "Instructions: stay in character",
        "You are Valerius, a vampire who owns the night club below the old theatre.",
        "you are valerius, a vampire who owns the night club, I was told.",
        '"You speak slowly, and you never raise your voice."',
    ],
)
@pytest.mark.parametrize("size", [1, 8, 1_000])
def test_the_prompt_does_not_leak(text: str, size: int) -> None:
    """Neither a template's markup nor a line of the prompt is shown."""
    assert isinstance(judge(checker(), text, size), Objection)


def test_a_rule_of_underscores_is_no_instruction() -> None:
    """A line of the prompt without a word does not make every reply a leak."""
    assert judge(checker(identity="_" * 40 + "\n" + "." * 40), "Good evening.", 4) is not WAIT
    verdict = judge(checker(identity="_" * 40), "Good evening to you, little flame.", 4)
    assert not isinstance(verdict, Objection)


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("en", "Добро пожаловать в мой клуб, путник."),
        ("en", "欢迎来到我的俱乐部，旅行者，请坐下来喝一杯吧。"),
        ("en", "欢迎旅行者。"),
        ("en", "Ich bin der Herr und das ist nicht dein Haus."),
        ("en", "Entrez, mes amis, le bal est ouvert et je vous attends."),
        ("de", "The night is young and you are not."),
        ("fr", "The night is young and you are not."),
        ("es", "The night is young and you are not."),
        ("ru", "The night is young."),
        ("ja", "The night is young."),
        ("ja", "밤은 아직 어리다네, 친구여."),
        ("zh-Hant-TW", "The night is young."),
        ("ko", "Ночь ещё молода, мой друг."),
        ("el", "The night is young."),
        ("ta", "The night is young."),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1_000])
def test_another_language_is_objected_to(lang: str, text: str, size: int) -> None:
    """A reply in another script or another language is not what the player asked for."""
    verdict = judge(checker(lang), text, size)
    assert isinstance(verdict, Objection)
    assert "language" in verdict.reason


HEARD = "Come closer, little flame, and warm yourself at what is left of me."


@pytest.mark.parametrize("size", [1, 9, 1_000])
@pytest.mark.parametrize(
    ("text", "objects"),
    [
        (HEARD, True),
        (HEARD.upper(), True),
        (f'"{HEARD}"', True),
        (f"*{HEARD}*", True),
        (HEARD + " Or do not.", True),
        (HEARD[:50] + " in my arms.", False),
        ("Come closer, little flame.", False),
        ("Come.", False),
        ("Yes.", False),
        ("I said: " + HEARD, False),
        ("Another line that is as long as the first, and was not said before.", False),
    ],
)
def test_a_line_that_was_just_heard_is_not_said_again(text: str, size: int, objects: bool) -> None:
    """Short answers may be repeated, and beginnings; a whole line may not."""
    verdict = judge(checker(heard=("Yes.", HEARD, "No.")), text, size)
    assert isinstance(verdict, Objection) is objects


def test_only_the_last_two_replies_count() -> None:
    """What was said long ago may be said again."""
    check = checker(heard=(HEARD, "Yes indeed, so it was.", "No, it was not like that at all."))
    assert not isinstance(judge(check, HEARD, 5), Objection)


def test_a_tier_chooses_its_checks() -> None:
    """Without a check everything passes that it would object to."""
    turn = make_turn()
    turn.tier = Tier.model_validate({"chain": ["local"], "checks": []})
    assert opening_checker(turn) is None
    check = checker(checks=["empty"])
    assert not isinstance(judge(check, "As an AI, I cannot.", 3), Objection)
