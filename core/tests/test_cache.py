"""The dialogue cache, from what is asked to what is said again."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.checks import GO, Checker, Objection
from palaver.hookspecs import hookimpl
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.server import RunningServer, running_server, write_world
from palaver.turn.events import Text
from palaver.turn.model import Turn, TurnResult

ONE = {"tiers.elite.cache": {"variants": 1}}
TWO = {"tiers.elite.cache": {"variants": 2}}
THREE = {"tiers.elite.cache": {"variants": 3}}


def rule(**fields: Any) -> dict[str, Any]:
    """Settings whose tier has this rule, with one variant where nothing else is said."""
    return {"tiers.elite.cache": {"variants": 1, **fields}}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A small world."""
    return write_world(tmp_path / "world")


@asynccontextmanager
async def serving(
    world: Path, overrides: Mapping[str, Any], *replies: Any, **more: Any
) -> AsyncIterator[RunningServer]:
    """A server whose model gives these replies, or another one each time."""
    backend = ScriptedBackend("local", *(replies or [f"Answer {n}." for n in range(1, 40)]))
    async with running_server(world, backend=backend, overrides=overrides, **more) as palaver:
        yield palaver


async def say(
    palaver: RunningServer, text: str | None, player: str | None = "p1", **more: Any
) -> TurnResult:
    """Run one turn."""
    async with asyncio.timeout(30):
        return await palaver.gateway.ask(text, npc="vlad", persona="vampire", player=player, **more)


async def cached(palaver: RunningServer, text: str, player: str, **more: Any) -> bool:
    """Run one turn and return whether it was answered from the cache."""
    return (await say(palaver, text, player, **more)).cached


async def stored(palaver: RunningServer, count: int) -> None:
    """Wait until so many replies are kept."""
    async with asyncio.timeout(30):
        while palaver.gateway.cache.counts["elite"].stored < count:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0)


def upsert(palaver: RunningServer, player: str, **fields: Any) -> None:
    """Tell of a player."""
    palaver.gateway.game("default").upsert_player(player, **fields)


async def test_a_second_turn_of_the_same_situation_is_answered_from_the_cache(world: Path) -> None:
    """Another player's greeting is answered with the reply to the first, without a model."""
    async with serving(world, ONE) as palaver:
        first = await say(palaver, "Good evening.", "p1")
        second = await say(palaver, "Hello!", "p2")
        assert (first.cached, second.cached) == (False, True)
        assert second.text == first.text
        assert second.served_by.backend == "cache"
        assert [(one.backend, one.outcome) for one in second.trail] == [("cache", "served")]
        assert len(palaver.backend.calls) == 1
        counts = palaver.gateway.cache.counts["elite"]
        assert (counts.hits, counts.misses, counts.stored, counts.hit_rate) == (1, 1, 1, 0.5)


async def test_the_engine_sees_that_a_reply_was_cached(world: Path) -> None:
    """On the wire a cached turn is like any other, with `cached` in its `turn.done`."""
    async with serving(world, ONE, "Good evening to you. <feel joy>Sit.") as palaver:
        engine = await palaver.ready(capabilities=["emotion", "sentence"])
        await say(palaver, "Hello", "p1")
        start = {"type": "turn.start", "turn": "t1", "npc": "vlad", "player": "p2"}
        await engine.send({**start, "text": "Hi"})
        seen = [await engine.receive()]
        while seen[-1]["type"] != "turn.done":
            seen.append(await engine.receive())
        assert seen[-1]["cached"] is True
        kinds = [message["type"] for message in seen]
        assert kinds[0] == "turn.accepted"
        assert kinds.index("turn.emotion") < kinds.index("turn.done")
        text = "".join(m["text"] for m in seen if m["type"] == "turn.delta")
        assert text == seen[-1]["text"] == "Good evening to you. Sit."


async def test_it_asks_a_model_until_there_are_enough_variants(world: Path) -> None:
    """Three turns make three variants; then each turn has another one than the last."""
    async with serving(world, THREE) as palaver:
        for player in ("p1", "p2", "p3"):
            assert not await cached(palaver, "Hello", player)
        heard = [await say(palaver, "Hello", "p4") for _ in range(9)]
        assert all(one.cached for one in heard)
        texts = [one.text for one in heard]
        assert set(texts) == {"Answer 1.", "Answer 2.", "Answer 3."}
        assert all(one != two for one, two in pairwise(texts))
        assert len(palaver.backend.calls) == 3


async def test_nobody_hears_the_same_twice_in_a_row(world: Path) -> None:
    """A player who just heard the only reply gets a new one from the model."""
    async with serving(world, ONE) as palaver:
        await say(palaver, "Hello", "p1")
        assert not await cached(palaver, "Hello", "p1")
        assert (await say(palaver, "Hello", "p2")).text == "Answer 1."


async def test_nobody_hears_the_same_after_a_restart(world: Path) -> None:
    """What was heard before is known from memory once a gateway has forgotten."""
    async with serving(world, ONE, "The only one.") as palaver:
        await say(palaver, "Hello", "p1")
        await palaver.gateway.memory.flush()
    async with serving(world, ONE, "The only one.") as palaver:
        await say(palaver, "Hello", "p2")
        assert not await cached(palaver, "Hello", "p1")
        assert await cached(palaver, "Hello", "p3")


async def test_a_model_that_always_says_the_same_fills_the_cache_too(world: Path) -> None:
    """Two more replies that are there already stand for all that were wanted."""
    async with serving(world, THREE, "Always this.") as palaver:
        assert [await cached(palaver, "Hello", f"p{n}") for n in range(5)] == [
            False,
            False,
            False,
            True,
            True,
        ]


async def test_turns_that_share_a_reply_do_not_stand_for_more(world: Path) -> None:
    """Ten turns at once that share one reply leave room for other variants."""
    gate = asyncio.Event()
    async with serving(world, THREE, [gate, "Shared."], ["Other."], ["Third."]) as palaver:
        async with asyncio.TaskGroup() as group:
            for number in range(10):
                # Prompts name the player.
                upsert(palaver, f"p{number}", name="Ada")
                group.create_task(say(palaver, "Hello", f"p{number}"))
            async with asyncio.timeout(30):
                while palaver.gateway.flights.listeners < 10:  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.01)
            gate.set()
        assert len(palaver.backend.calls) == 1
        assert not await cached(palaver, "Hello", "late")


@pytest.mark.parametrize(
    ("said", "then", "same"),
    [
        pytest.param("Hello", "Good evening!", True, id="two greetings"),
        pytest.param("Hello", "Farewell.", False, id="other intent"),
        pytest.param("Where is the key?", "where is the KEY", True, id="same question"),
        pytest.param("Where is the key?", "Where is the door?", False, id="other question"),
        pytest.param("The moon sings tonight", "Nice boots today", False, id="other other"),
        pytest.param("The moon sings tonight", "the moon sings tonight!", True, id="same other"),
        pytest.param("Hello", "Hello, I have come from far to see you", False, id="long greeting"),
    ],
)
async def test_what_was_said_counts_where_the_intent_does_not_tell(
    world: Path, said: str, then: str, same: bool
) -> None:
    """A greeting is a greeting; a question has to be the same question."""
    async with serving(world, ONE, "Mh.") as palaver:
        await say(palaver, said, "p1")
        assert await cached(palaver, then, "p2") == same


async def test_without_the_words_an_unknown_intent_is_not_cached(world: Path) -> None:
    """With `exact = []` what nobody understands is left to the model."""
    async with serving(world, rule(exact=[])) as palaver:
        await say(palaver, "The moon sings", "p1")
        assert not await cached(palaver, "The moon sings", "p2")
        assert palaver.gateway.cache.counts["elite"].bypassed == 2


async def test_a_short_question_leans_on_what_came_before(world: Path) -> None:
    """Whether "Why?" is the same depends on the line before."""
    replies = ["I am old.", "I hate rain.", "Because of my name."]
    async with serving(world, ONE, *replies) as palaver:
        await say(palaver, "Tell me about yourself, old one?", "p1")
        await say(palaver, "What about the weather of today?", "p2")
        assert not await cached(palaver, "Why?", "p1")
        assert not await cached(palaver, "Why?", "p2")
        await say(palaver, "Tell me about yourself, old one?", "p3")
        assert not await cached(palaver, "Why?", "p3")
        await stored(palaver, 3)
        await say(palaver, "Tell me about yourself, old one?", "p4")
        assert await cached(palaver, "Why?", "p4")


async def test_cues_count_by_their_text(world: Path) -> None:
    """The same cue is the same situation, another one is not."""
    async with serving(world, ONE) as palaver:
        await say(palaver, None, "p1", cue="The door falls shut.")
        assert (await say(palaver, None, "p2", cue="The door falls shut.")).cached
        assert not (await say(palaver, None, "p3", cue="The lamp goes out.")).cached


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param({"mood": "calm"}, {"mood": "angry"}, False, id="mood"),
        pytest.param({"relationship": 30}, {"relationship": 45}, True, id="same band"),
        pytest.param({"relationship": 30}, {"relationship": 55}, False, id="other band"),
        pytest.param({"relationship": -30}, {"relationship": 30}, False, id="below zero"),
        pytest.param({"hunger": 3}, {"hunger": 8}, False, id="small numbers"),
        pytest.param({"hunger": 3}, {"hunger": 3.4}, True, id="behind the point"),
        pytest.param({"quest": "open"}, {"quest": "done"}, False, id="quest"),
        pytest.param({"boots": "red"}, {"boots": "blue"}, True, id="undeclared"),
        pytest.param({"name": "Vlad"}, {"name": "Vladimir"}, False, id="name"),
    ],
)
async def test_facts_tell_situations_apart(
    world: Path, first: dict[str, Any], second: dict[str, Any], same: bool
) -> None:
    """Declared facts and those the rule names count, numbers by their band; others do not."""
    async with serving(world, ONE) as palaver:
        await say(palaver, "Hello", "p1", facts=first)
        assert await cached(palaver, "Hello", "p2", facts=second) == same


@pytest.mark.parametrize(
    ("fact", "same"),
    [
        pytest.param("player.guild", False, id="the player's"),
        pytest.param("npc.guild", True, id="the NPC's"),
        pytest.param("guild", False, id="anybody's"),
    ],
)
async def test_a_rule_names_whose_fact_it_means(world: Path, fact: str, same: bool) -> None:
    """`player.NAME` is the player's; a bare name is anybody's."""
    async with serving(world, rule(facts=["intent", fact])) as palaver:
        upsert(palaver, "p1", facts={"guild": "smiths"})
        upsert(palaver, "p2", facts={"guild": "bakers"})
        await say(palaver, "Hello", "p1")
        assert await cached(palaver, "Hello", "p2") == same


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param("Welcome, Ada.", "names", id="name"),
        pytest.param("Welcome. <do give {}>", "acts", id="action"),
        pytest.param("Welcome to the cicada hall.", None, id="part of a word"),
        pytest.param("How is the bakers guild?", "names", id="fact"),
        pytest.param("You have 1200 coins.", "names", id="number"),
        pytest.param("Quorra, is it?", "echoes", id="what was said"),
    ],
)
async def test_what_belongs_to_one_player_is_not_kept(
    world: Path, reply: str, reason: str | None
) -> None:
    """A reply that names the player or what only they have or said is said to them alone."""
    async with serving(world, ONE, reply) as palaver:
        upsert(palaver, "p1", name="Ada", facts={"guild": "bakers", "purse": 1200})
        await say(palaver, "Hello, I am Quorra", "p1")
        counts = palaver.gateway.cache.counts["elite"]
        assert dict(counts.refused) == ({reason: 1} if reason else {})
        assert counts.stored == (0 if reason else 1)


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        pytest.param("健太", "健太さん、こんにちは。", id="no spaces"),
        pytest.param("田中健太", "田中さん、こんにちは。", id="part without spaces"),
        pytest.param("Aldric the Bold", "Welcome back, Aldric!", id="part"),
        pytest.param("xX_Aldric_Xx", "Welcome back, Aldric!", id="decorated"),
        pytest.param("Al", "Al, is it? Stay calm.", id="in another word of the situation"),
        pytest.param("Said", "Peace be with you, Said.", id="the name of a part of the key"),
    ],
)
async def test_no_part_of_a_name_is_said_to_others(world: Path, name: str, reply: str) -> None:
    """A reply that has a part of the player's name, in any script, is theirs alone."""
    # Else the check of the language objects to some.
    async with serving(world, {**ONE, "tiers.elite.checks": []}, reply) as palaver:
        upsert(palaver, "p1", name=name)
        await say(palaver, "Where does the road behind the mill go to?", "p1")
        counts = palaver.gateway.cache.counts["elite"]
        assert (dict(counts.refused), counts.stored) == ({"names": 1}, 0)


async def test_nobody_is_told_of_who_was_there_before(world: Path) -> None:
    """A reply that names somebody known from the talk so far, or a listener, is not kept."""
    async with serving(world, ONE, "Yes.", "Bert was here.", "Hush, cleo listens.") as palaver:
        upsert(palaver, "p1", name="Bert")
        await say(palaver, "Hello", "p1")
        upsert(palaver, "p1", name="Bertha")
        await say(palaver, "Thank you", "p1")
        await say(palaver, "Farewell", "p1", audience=["cleo"])
        assert palaver.gateway.cache.counts["elite"].refused["names"] == 2


async def test_a_name_that_is_part_of_the_situation_may_be_said(world: Path) -> None:
    """Where the rule names the player's name, replies may use it."""
    async with serving(world, rule(facts=["intent", "player.name"]), "Welcome, Ada.") as palaver:
        upsert(palaver, "p1", name="Ada")
        upsert(palaver, "p2", name="Ada")
        upsert(palaver, "p3", name="Bob")
        await say(palaver, "Hello", "p1")
        assert await cached(palaver, "Hello", "p2")
        assert not await cached(palaver, "Hello", "p3")


async def test_an_action_that_nobody_can_carry_out_is_not_promised(world: Path) -> None:
    """A reply with an action is said again while the engine declares it, and only then."""
    action = {"name": "wave", "description": "Wave.", "args": {"type": "object"}}
    async with serving(world, ONE, "Look here. <do wave>") as palaver:
        engine = await palaver.ready(capabilities=["action"])
        await engine.send({"type": "actions.set", "actions": [action]})
        await engine.ping()
        await say(palaver, "Hello", "p1")
        assert await cached(palaver, "Hello", "p2")
        await engine.send({"type": "actions.set", "actions": []})
        await engine.ping()
        assert not await cached(palaver, "Hello", "p3")


async def test_a_seed_wants_the_models_own_words(world: Path) -> None:
    """A turn with a seed neither reads nor fills the cache."""
    async with serving(world, ONE) as palaver:
        await say(palaver, "Hello", "p1", seed=1)
        assert not await cached(palaver, "Hello", "p2")
        assert not (await say(palaver, "Hello", "p3", seed=1)).cached


async def test_filters_see_what_is_said_again(world: Path) -> None:
    """A cached reply passes the turn's filters; if they leave nothing of it, a model speaks."""

    class Strict:
        taking = False

        @hookimpl
        def palaver_filter(self, turn: Turn) -> Any:
            return self

        def feed(self, event: Any) -> Any:
            if type(event) is not Text:
                return [event]
            if self.taking and "Answer 1" in event.text:
                return []
            return [Text(event.text.upper())]

        def flush(self) -> Any:
            return []

    strict = Strict()
    async with serving(world, ONE, plugins={"strict": strict}) as palaver:
        await say(palaver, "Hello", "p1")
        second = await say(palaver, "Hello", "p2")
        assert (second.cached, second.text) == (True, "ANSWER 1.")
        strict.taking = True
        third = await say(palaver, "Hello", "p3")
        assert (third.cached, third.text) == (False, "ANSWER 2.")


async def test_a_saved_persona_starts_anew(world: Path) -> None:
    """What a persona said before it was changed is forgotten."""
    async with serving(world, ONE) as palaver:
        await say(palaver, "Hello", "p1")
        assert palaver.gateway.cache.situations == 1
        file = world / "personas" / "vampire.md"
        file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        palaver.gateway._worlds.reload()
        assert not await cached(palaver, "Hello", "p2")
        assert palaver.gateway.cache.situations == 1
        assert await cached(palaver, "Hello", "p3")


async def test_memory_is_bounded(world: Path) -> None:
    """Beyond `limits.cache_bytes` what was not said for the longest goes first."""
    replies = [f"{n} " + "word " * 300 for n in range(1, 121)]
    overrides = {**ONE, "limits.cache_bytes": 100_000}
    async with serving(world, overrides, *replies) as palaver:
        cache = palaver.gateway.cache
        for number in range(60):
            await say(palaver, f"Question number {number} about things?", f"p{number}")
        assert 5 < cache.situations < 60
        assert cache.size_bytes <= 100_000
        assert await cached(palaver, "Question number 59 about things?", "late")
        assert not await cached(palaver, "Question number 0 about things?", "late")


async def test_off_is_off(world: Path) -> None:
    """With `cache = false` every line is fresh, whatever the shipped tier has."""
    async with serving(world, {"tiers.elite.cache": False}) as palaver:
        assert not await cached(palaver, "Hello", "p1")
        assert not await cached(palaver, "Hello", "p2")
        assert "elite" not in palaver.gateway.cache.counts


class Clock:
    """A time that tests set."""

    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The cache's time."""
    made = Clock()
    from palaver.cache import DialogueCache

    init: Callable[..., None] = DialogueCache.__init__
    monkeypatch.setattr(
        DialogueCache, "__init__", lambda *args, **more: init(*args, **more, clock=made)
    )
    return made


async def test_replies_have_an_end(world: Path, clock: Clock) -> None:
    """After `ttl_s` a reply is not said any more."""
    async with serving(world, rule(ttl_s=1000)) as palaver:
        await say(palaver, "Hello", "p1")
        clock.now += 1001
        assert not await cached(palaver, "Hello", "p2")


async def test_old_replies_are_renewed_in_the_background(world: Path, clock: Clock) -> None:
    """An old reply is said once more, and the model is asked for another that replaces it."""
    async with serving(world, rule(ttl_s=1000)) as palaver:
        upsert(palaver, "p2", name="Grace")
        await say(palaver, "Hello", "p1")
        await say(palaver, "How are you doing on this fine day?", "p2")
        clock.now += 799  # Old it is in any case, and over in none.
        old = await say(palaver, "Hello", "p2")
        assert (old.cached, old.text) == (True, "Answer 1.")
        call = await palaver.backend.called(3)
        async with asyncio.timeout(30):
            while not palaver.gateway.cache.counts["elite"].renewed:  # noqa: ASYNC110  # no event
                await asyncio.sleep(0)
        request = call.request
        assert request.priority == 3
        assert request.turn.player is None, "no ceiling of a player pays for it"
        assert not any("fine day" in message.content for message in request.messages)
        new = await say(palaver, "Hello", "p3")
        assert (new.cached, new.text) == (True, "Answer 3.")


@pytest.mark.parametrize("kind", ["dislike", "report", "like", "skip"])
async def test_what_a_player_dislikes_is_not_said_again(world: Path, kind: str) -> None:
    """A reply that was disliked or reported leaves the cache."""
    async with serving(world, ONE) as palaver:
        await say(palaver, "Hello", "p1")
        engine = await palaver.ready()
        done = await engine.say("vlad", "Hello", turn="t1", player="p2")
        assert done["cached"]
        await engine.send({"type": "turn.feedback", "turn": "t1", "kind": kind})
        await engine.ping()
        liked = kind in ("like", "skip")
        assert await cached(palaver, "Hello", "p3") == liked
        palaver.backend.replies = ["Answer 1."]
        assert await cached(palaver, "Hello", "p4")
        await say(palaver, "Hello", "p4")
        refused = palaver.gateway.cache.counts["elite"].refused
        assert refused["private" if liked else "disliked"] == 1


async def test_no_prompt_is_built_for_what_is_cached(world: Path) -> None:
    """The cache is asked before a template is rendered."""
    async with serving(world, ONE) as palaver:
        turns: list[Turn] = []
        for player in ("p1", "p2"):
            await say(palaver, "Hello", player, on_turn=turns.append)
        assert [turn.prompt is None for turn in turns] == [False, True]


async def test_a_broken_cache_costs_no_turn(
    world: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in it is logged, and the model speaks."""
    async with serving(world, ONE) as palaver:
        monkeypatch.setattr("palaver.cache.dialogue.situation_of", dataclasses.replace)
        assert (await say(palaver, "Hello", "p1")).text == "Answer 1."
        assert "has a bug" in caplog.text


class Strict:
    """A plugin that objects to one word, once it is told to."""

    word: str | None = None

    @hookimpl
    def palaver_check(self, turn: Turn) -> Checker:
        return lambda text, whole: (
            Objection("a bad word") if self.word and self.word in text else GO
        )


async def test_what_was_kept_passes_the_checks_of_today(world: Path) -> None:
    """A check that came after a reply was kept still sees it before a player does."""
    strict = Strict()
    async with serving(world, ONE, plugins={"strict": strict}) as palaver:
        first = await say(palaver, "Good evening.", "p1")
        strict.word = first.text
        second = await say(palaver, "Good evening.", "p2")
        assert (second.text, second.cached) == ("Answer 2.", False)
        assert [(one.backend, one.outcome) for one in second.trail] == [
            ("cache", "objected"),
            ("local", "served"),
        ]


@pytest.mark.parametrize(
    "reply", ['Take it. <do give {"gold": 5}>', "Look here. <do vanish>"], ids=["with", "unknown"]
)
async def test_what_has_to_be_decided_is_decided_each_time(world: Path, reply: str) -> None:
    """An action with arguments, or one that the engine did not declare, is nobody else's."""
    action = {"name": "give", "description": "Give.", "args": {"type": "object"}}
    async with serving(world, ONE, reply) as palaver:
        engine = await palaver.ready(capabilities=["action"])
        await engine.send({"type": "actions.set", "actions": [action]})
        await engine.ping()
        await say(palaver, "Hello", "p1")
        assert not await cached(palaver, "Hello", "p2")
        assert palaver.gateway.cache.counts["elite"].refused["acts"] == 2


async def test_one_player_takes_nothing_away_from_the_others(world: Path) -> None:
    """Whoever dislikes a reply is spared it; three different players take it away from all."""
    async with serving(world, ONE) as palaver:
        cache = palaver.gateway.cache
        await say(palaver, "Hello", "p0")

        async def dislike(player: str) -> None:
            engine = await palaver.ready()
            assert (await engine.say("vlad", "Hello", turn="t1", player=player))["cached"]
            cache.dislike(engine.session, "t1", for_all=False)

        await dislike("p1")
        assert not await cached(palaver, "Hello", "p1")
        assert await cached(palaver, "Hello", "p9")
        await dislike("p2")
        assert (await say(palaver, "Hello", "p8")).text == "Answer 1."
        await dislike("p3")
        assert (await say(palaver, "Hello", "p7")).text != "Answer 1."
