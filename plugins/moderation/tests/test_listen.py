"""What players say where a client brings the whole talk, and where it is long."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from palaver.prompt.sections import Message
from palaver.testing.turns import make_turn
from palaver_moderation.config import ModerationSettings, RemoteSettings
from palaver_moderation.listen import Listener
from palaver_moderation.lists import load_words
from palaver_moderation.remote import Remote
from palaver_moderation.rules import RuleBook, Rules
from palaver_moderation.said import OVERLAP, SLICE, Said, in_slices

SETTINGS = ModerationSettings(
    words={"rude": ["blorp", "snark you"], "secret": ["the vault"]}, player={"secret": "mask"}
)
MANY = "Good evening to you. " * 1_000
GIVE_A_MOMENT = "Give me a moment."


def rules() -> Rules:
    """What is looked for."""
    return RuleBook(SETTINGS, load_words(SETTINGS, None)).of("en")


def listener(remote: Remote | None = None) -> Listener:
    """A listener that tells nobody."""
    return Listener(SETTINGS, remote, lambda *_: None)


def talk(*texts: str) -> list[dict[str, str]]:
    """A talk, a player's words first, then a reply, and so on."""
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]


async def ask(world, *texts: str, model: str = "tier/elite") -> str:
    """Send a whole talk; returns the reply."""
    body = {"model": model, "user": "ada", "messages": talk(*texts)}
    if not model.startswith("tier/"):
        body["metadata"] = {"history": "client"}
    url = f"{world.palaver.http_url}/v1/chat/completions"
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.json())["choices"][0]["message"]["content"]


def heard(world) -> str:
    """What models were asked, as one text."""
    requests = world.backend.requests
    return "\n".join(message.content for one in requests for message in one.messages)


async def test_an_empty_last_message_hides_nothing(moderated) -> None:
    """A talk that ends with an empty message is masked like any other."""
    async with moderated() as world:
        await ask(world, "I am by the vault.", "I see.", "")
        assert "I am by ***." in heard(world)


async def test_all_of_a_long_message_may_be_refused(moderated) -> None:
    """What stands behind the first four thousand characters is refused as well."""
    async with moderated() as world:
        assert await ask(world, f"{MANY}You blorp!") == GIVE_A_MOMENT
        assert world.backend.requests == []


async def test_all_that_is_said_now_may_be_refused(moderated) -> None:
    """Several messages after the last reply are all said now."""
    async with moderated() as world:
        url = f"{world.palaver.http_url}/v1/chat/completions"
        said = [*talk("Hello.", "Hello."), *talk("You blorp!"), *talk("Well?")]
        async with (
            aiohttp.ClientSession() as http,
            http.post(url, json={"model": "tier/elite", "messages": said}) as answer,
        ):
            assert answer.status == 200
        assert world.backend.requests == []


async def test_an_earlier_refusal_does_not_end_the_talk(moderated) -> None:
    """What was refused earlier stays in the client's history: masked there, the talk goes on."""
    async with moderated() as world:
        assert await ask(world, "You blorp!", GIVE_A_MOMENT, "Sorry.") == "Good evening."
        assert "You ***!" in heard(world)


@pytest.mark.parametrize("model", ["tier/elite", "persona/vampire"])
async def test_what_the_service_masks_is_masked_in_the_prompt(moderated, service, model) -> None:
    """What the service finds is gone from what a model reads, whenever it was said."""
    service.flagged = {"Elm Street": "address"}
    settings = f"""
        [plugins.moderation.remote]
        url = "{service.url}"
        timeout_ms = 10_000
        categories = {{ address = "personal" }}
    """
    async with moderated(settings) as world:
        await ask(world, "I was at 4 Elm Street.", "I see.", "I am at 5 Elm Street.", model=model)
        assert "Elm Street" not in heard(world)
        assert "***" in heard(world)
        assert sorted(service.texts) == ["I am at 5 Elm Street.", "I was at 4 Elm Street."]


async def test_the_service_is_asked_about_all_of_a_long_message(moderated, service) -> None:
    """What stands behind the first four thousand characters is sent, too."""
    service.flagged = {"vile": "hate"}
    settings = f'[plugins.moderation.remote]\nurl = "{service.url}"\ntimeout_ms = 10_000\n'
    async with moderated(settings) as world:
        assert await ask(world, f"{MANY}A vile thing.") == GIVE_A_MOMENT
        assert world.backend.requests == []


async def test_others_work_while_much_is_looked_at(monkeypatch) -> None:
    """A whole prompt is looked at in slices, and others have their turn between them."""
    monkeypatch.setattr("palaver_moderation.listen.AT_ONCE_S", 0.0)
    turn = make_turn("Hello.")
    turn.given_prompt = [Message("user", MANY)]
    work = listener().listen(turn, rules())
    assert work is not None
    task = asyncio.ensure_future(work)
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= len(MANY) // (SLICE + OVERLAP)
    assert turn.refused is None


async def test_what_was_not_looked_at_in_time_reaches_no_model(monkeypatch) -> None:
    """A plugin that is late is left behind; until all was looked at, the turn is refused."""
    monkeypatch.setattr("palaver_moderation.listen.AT_ONCE_S", 0.0)
    turn = make_turn("Hello.")
    turn.given_prompt = [Message("user", MANY)]
    work = listener().listen(turn, rules())
    assert work is not None
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    task.cancel()
    assert turn.refused == (
        "moderation: what was said could not be looked at within limits.hook_ms"
    )


@pytest.mark.parametrize("without", ["open", "closed"])
async def test_a_service_that_is_later_than_hooks_may_be(service, without) -> None:
    """Left behind while it asks, closed refuses and open goes on with what the lists left."""
    service.held.clear()
    remote = Remote(RemoteSettings(url=service.url, players_without=without), limit_s=30)
    turn = make_turn("I am by the vault.")
    work = listener(remote).listen(turn, rules())
    assert work is not None
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(30):
        await service.came.wait()
    task.cancel()
    assert (turn.refused is None) is (without == "open")
    assert turn.text == "I am by ***."
    await asyncio.wait({task})
    await remote.close()


def test_a_cut_hides_no_words() -> None:
    """Wherever a text is cut into slices, the same is found as in one piece."""
    for shift in range(0, 60, 7):
        text = "x" * shift + " snark you, and " * 700
        found = [hit for hits in in_slices(rules(), text) for hit in hits]
        assert found == list(rules().find(text))


def test_what_was_said_is_brought_back_everywhere() -> None:
    """A text that is changed is changed in the prompt, in the history, and in what is said."""
    turn = make_turn("c")
    turn.given_prompt = [
        Message("system", "s"),
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c"),
        Message("assistant", "left out"),
    ]
    said = Said(turn)
    assert (said.parts, said.first_now) == (["a", "c"], 1)
    said.put(0, "A")
    said.put(1, "C")
    said.write()
    assert [one.content for one in turn.given_prompt] == ["s", "A", "b", "C", "left out"]
    assert turn.given_history is not None
    assert [(one.said, one.reply) for one in turn.given_history] == [("A", "b")]
    assert turn.text == "C"
