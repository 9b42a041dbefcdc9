"""OpenAI's chat API, with their own Python client against the real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from palaver.chain.backend import Finish
from palaver.errors import BackendUnavailable
from palaver.testing.scripted import ScriptedBackend, scripted_type
from palaver.testing.server import RunningServer, running_server

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Good evening."}]
TALK: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You are a lamp."},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A lamp."},
    {"role": "user", "content": "Shine."},
]


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., AsyncOpenAI]]:
    """Makes clients of a server, which are closed at the end: `connect(server, api_key="...")`."""
    async with AsyncExitStack() as stack:

        def make(palaver: RunningServer, **settings: Any) -> AsyncOpenAI:
            settings = {"api_key": "none", "max_retries": 0, "timeout": 30.0, **settings}
            client = AsyncOpenAI(base_url=f"{palaver.http_url}/v1", **settings)
            stack.push_async_callback(client.close)
            return client

        yield make


@pytest.fixture
async def client(palaver_server: RunningServer, connect: Callable[..., AsyncOpenAI]) -> AsyncOpenAI:
    """A client of `palaver_server`, where an engine has made `vlad`, a vampire."""
    await palaver_server.ready()
    return connect(palaver_server)


def prompt_of(palaver: RunningServer) -> list[tuple[str, str]]:
    """Return what the backend was asked last."""
    return [(one.role, one.content) for one in palaver.backend.requests[-1].messages]


async def test_models_are_whom_one_can_talk_to(client: AsyncOpenAI) -> None:
    """The list has the NPCs of running games, the personas and the tiers."""
    names = [model.id async for model in client.models.list()]
    assert names[:3] == ["npc/vlad", "persona/vampire", "persona/zombie"]
    assert {"tier/grunt", "tier/elite", "tier/boss", "tier/story"} <= set(names)
    model = await client.models.retrieve("npc/vlad")
    assert (model.id, model.owned_by) == ("npc/vlad", "palaver")
    with pytest.raises(openai.NotFoundError, match="did you mean `npc/vlad`"):
        await client.models.retrieve("npc/vald")


async def test_an_npc_answers(palaver_server: RunningServer, client: AsyncOpenAI) -> None:
    """`npc/<id>` speaks with its persona and its memory; `user` is who speaks."""
    palaver_server.backend.replies = [["Leave.", Finish(prompt_tokens=90, completion_tokens=3)]]
    answer = await client.chat.completions.create(model="npc/vlad", messages=TALK, user="ada")
    assert answer.choices[0].message.content == "Leave."
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "npc/vlad"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (90, 3)
    assert answer.usage.total_tokens == 93
    # The persona is ours: of the client's messages only the last words count.
    assert prompt_of(palaver_server) == [
        ("system", "You are Vlad."),
        ("user", "Hunger: 0.\n\nada: Shine."),
    ]
    await client.chat.completions.create(model="npc/vlad", messages=HELLO, user="ada")
    assert prompt_of(palaver_server)[1:] == [
        ("user", "ada: Shine."),
        ("assistant", "Leave."),
        ("user", "Hunger: 0.\n\nada: Good evening."),
    ]


async def test_an_engine_and_a_mod_meet_the_same_npc(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """What was said over this API is remembered over WebSocket."""
    await client.chat.completions.create(model="npc/vlad", messages=HELLO, user="ada")
    engine = await palaver_server.engine()
    await engine.start()
    await engine.say("vlad", "Do you know me?", turn="t", player="ada")
    assert ("user", "ada: Good evening.") in prompt_of(palaver_server)


async def test_a_persona_answers_without_an_engine(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """`persona/<name>` is an NPC of that name, which is there from then on."""
    answer = await client.chat.completions.create(model="persona/zombie", messages=HELLO)
    assert answer.choices[0].message.content == "Good evening."
    assert prompt_of(palaver_server)[0] == ("system", "You are Brains.")
    assert "npc/zombie" in [model.id async for model in client.models.list()]


async def test_a_tier_answers_the_clients_own_prompt(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """`tier/<name>` takes the messages as they are, within the tier's limits."""
    answer = await client.chat.completions.create(
        model="tier/boss", messages=TALK, temperature=0.3, max_tokens=9, stop="\n", seed=-1
    )
    assert answer.choices[0].message.content == "Good evening."
    assert prompt_of(palaver_server) == [
        ("system", "You are a lamp."),
        ("user", "Who are you?"),
        ("assistant", "A lamp."),
        ("user", "Shine."),
    ]
    request = palaver_server.backend.requests[-1]
    assert request.turn.tier_name == "boss"
    assert request.sampling.temperature == 0.3
    assert request.sampling.max_tokens == 9
    assert request.sampling.stop == ("\n",)
    assert request.seed == 2**63 - 1
    await client.chat.completions.create(model="tier/elite", messages=HELLO, max_tokens=5_000)
    sampling = palaver_server.backend.requests[-1].sampling
    assert sampling.max_tokens == palaver_server.gateway.settings.tiers["elite"].max_tokens


async def test_a_tier_remembers_nothing_and_opens_no_game(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """Memory is the client's there; two requests are two strangers."""
    extra = {"metadata": {"game": "elsewhere"}}
    for _ in range(2):
        await client.chat.completions.create(
            model="tier/elite", messages=HELLO, user="ada", extra_body=extra
        )
        assert prompt_of(palaver_server) == [("user", "Good evening.")]
    assert list(palaver_server.gateway.games) == ["default"]


async def test_a_tier_answers_in_any_language(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """Where nobody names a language, no reply is in the wrong one."""
    for reply in (
        "Ich bin nicht der, den du suchst, und das ist gut.",
        "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440.",
    ):
        palaver_server.backend.replies = [reply]
        answer = await client.chat.completions.create(model="tier/elite", messages=HELLO)
        assert answer.choices[0].message.content == reply
    answer = await client.chat.completions.create(
        model="tier/elite", messages=HELLO, metadata={"lang": "fr"}
    )
    assert answer.choices[0].message.content == "Give me a moment."


async def test_turns_of_a_tier_wait_for_no_other(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """Two requests without a `user` run side by side, as a client of that API expects."""
    gate = asyncio.Event()
    palaver_server.backend.replies = [["One.", gate, Finish()], "Two."]
    ask = client.chat.completions.create
    first = asyncio.create_task(ask(model="tier/elite", messages=HELLO))
    await palaver_server.backend.called()
    second = await ask(model="tier/elite", messages=TALK)
    assert second.choices[0].message.content == "Two."
    gate.set()
    assert (await first).choices[0].message.content == "One."


async def test_a_tier_has_last_words(palaver_server: RunningServer, client: AsyncOpenAI) -> None:
    """When every backend fails there is a neutral line, or the client's own."""
    palaver_server.backend.replies = [[BackendUnavailable("local", "is down")]]
    answer = await client.chat.completions.create(model="tier/elite", messages=HELLO)
    assert answer.choices[0].message.content == "Give me a moment."
    answer = await client.chat.completions.create(
        model="tier/elite", messages=HELLO, metadata={"last_words": "Hm."}
    )
    assert answer.choices[0].message.content == "Hm."


async def test_chunks(palaver_server: RunningServer, client: AsyncOpenAI) -> None:
    """A stream begins with the role and ends with a reason, the usage and [DONE]."""
    palaver_server.backend.replies = [
        ["<feel joy 0.5>Come ", "in.", Finish(prompt_tokens=7, completion_tokens=4)]
    ]
    stream = await client.chat.completions.create(
        model="npc/vlad", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.role for chunk in chunks[1:-1]] == [None] * (len(chunks) - 2)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == "Come in."
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 11
    assert all(chunk.usage is None for chunk in chunks[:-1])
    more = [extra["palaver"] for chunk in chunks if (extra := chunk.model_extra)]
    assert more[0] == {"emotion": {"name": "joy", "intensity": 0.5}}
    assert more[1]["status"] == "completed"
    assert more[1]["served_by"]["backend"] == "local"
    assert more[1]["turn"] == chunks[0].id


async def test_usage_only_comes_where_it_was_asked_for(client: AsyncOpenAI) -> None:
    """Without `include_usage` every chunk has a choice, as naive clients expect."""
    stream = await client.chat.completions.create(
        model="persona/vampire", messages=HELLO, stream=True
    )
    async for chunk in stream:
        assert len(chunk.choices) == 1
        assert chunk.usage is None


async def test_chunks_come_as_they_are_said(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """The first words are there before the last are known."""
    gate = asyncio.Event()
    palaver_server.backend.replies = [["Wait. ", gate, "Now.", Finish()]]
    stream = await client.chat.completions.create(model="npc/vlad", messages=HELLO, stream=True)
    said = ""
    async with asyncio.timeout(20):
        async for chunk in stream:
            said += chunk.choices[0].delta.content or ""
            if said:
                gate.set()
    assert said == "Wait. Now."


async def test_emotions_and_actions_of_a_whole_answer(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """The field `palaver` has them with the place in the text where they came."""
    palaver_server.backend.replies = [["Well. <feel anger 1>Go <do leave>now.", Finish()]]
    engine = await palaver_server.ready()
    await engine.send({"type": "actions.set", "actions": [{"name": "leave"}]})
    await engine.ping()
    answer = await client.chat.completions.create(model="npc/vlad", messages=HELLO)
    assert answer.choices[0].message.content == "Well. Go now."
    assert answer.model_extra is not None
    events = answer.model_extra["palaver"]["events"]
    assert [sorted(event) for event in events] == [["at", "emotion"], ["action", "at"]]
    assert events[0]["at"] <= 6 <= events[1]["at"] <= 9
    assert events[1]["action"]["name"] == "leave"


async def test_a_reply_cut_by_length_says_so(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """`finish_reason` is `length` where the reply was cut."""
    palaver_server.backend.replies = [["One. Two and", Finish("length")]]
    answer = await client.chat.completions.create(model="npc/vlad", messages=HELLO, max_tokens=4)
    assert answer.choices[0].finish_reason == "length"
    assert palaver_server.backend.requests[-1].sampling.max_tokens == 4


async def test_how_a_character_speaks_stays_the_personas(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """A client may ask for less of an NPC, not for another temperature or another end."""
    await client.chat.completions.create(
        model="npc/vlad", messages=HELLO, temperature=1.9, top_p=0.1, stop=["a"], max_tokens=7
    )
    sampling = palaver_server.backend.requests[-1].sampling
    assert (sampling.temperature, sampling.top_p, sampling.stop) == (None, None, ())
    assert sampling.max_tokens == 7
    # The NPC itself is as it was.
    await client.chat.completions.create(model="npc/vlad", messages=HELLO)
    assert palaver_server.backend.requests[-1].sampling.max_tokens == 120


async def test_a_history_of_the_clients_own(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """With `metadata.history` the client's messages take the place of memory."""
    await client.chat.completions.create(model="npc/vlad", messages=HELLO, user="ada")
    await client.chat.completions.create(
        model="npc/vlad", messages=TALK, user="ada", metadata={"history": "client"}
    )
    told = [
        ("system", "You are Vlad."),
        ("user", "ada: Who are you?"),
        ("assistant", "A lamp."),
        ("user", "Hunger: 0.\n\nada: Shine."),
    ]
    assert prompt_of(palaver_server) == told
    # Nor is it remembered: the next prompt knows of the first talk only.
    await client.chat.completions.create(model="npc/vlad", messages=HELLO, user="ada")
    assert [text for _, text in prompt_of(palaver_server)][1:] == [
        "ada: Good evening.",
        "Good evening.",
        "Hunger: 0.\n\nada: Good evening.",
    ]


async def test_games_are_told_apart(palaver_server: RunningServer, client: AsyncOpenAI) -> None:
    """A header or the metadata name the game; the metadata wins."""
    await palaver_server.ready(npc="carl", persona="zombie", game="north")
    with pytest.raises(openai.NotFoundError, match="in the game 'default'"):
        await client.chat.completions.create(model="npc/carl", messages=HELLO)
    north = {"X-Palaver-Game": "north"}
    await client.chat.completions.create(model="npc/carl", messages=HELLO, extra_headers=north)
    await client.chat.completions.create(
        model="npc/carl",
        messages=HELLO,
        metadata={"game": "north"},
        extra_headers={"X-Palaver-Game": "south"},
    )
    models = client.with_options(default_headers=north).models
    assert "npc/vlad" not in [model.id async for model in models.list()]


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("persona/vampir", "did you mean `persona/vampire`"),
        ("npc/vld", "did you mean `npc/vlad`"),
        ("tier/elit", "did you mean `tier/elite`"),
        ("vampire", "a model is npc/<id>, persona/<name> or tier/<name>"),
        ("gpt-5", "a model is npc/<id>"),
        ("npc/", "there is no model 'npc/'"),
        ("x" * 256, "there is no model"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_model_that_is_not_there(
    model: str, hint: str, stream: bool, client: AsyncOpenAI
) -> None:
    """A 404 with the nearest name, also for streams."""
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model=model, messages=HELLO, stream=stream)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert hint in caught.value.message


async def test_an_npc_with_the_name_of_a_persona_keeps_its_own(
    palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """`persona/<name>` never changes who an engine's NPC is."""
    await palaver_server.ready(npc="zombie", persona="vampire")
    with pytest.raises(openai.BadRequestError, match="use the model npc/zombie"):
        await client.chat.completions.create(model="persona/zombie", messages=HELLO)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", ["npc/vlad", "tier/elite"])
async def test_a_client_that_leaves_ends_its_turn(
    model: str, stream: bool, palaver_server: RunningServer, client: AsyncOpenAI
) -> None:
    """Nobody generates for a client that is gone, down to the backend."""
    palaver_server.backend.replies = [["Wait. ", asyncio.Event()]]
    request = asyncio.create_task(
        client.chat.completions.create(model=model, messages=HELLO, stream=stream)
    )
    call = await palaver_server.backend.called()
    if stream:
        answer: Any = await request
        await anext(aiter(answer))
        await answer.close()
    else:
        request.cancel()
    async with asyncio.timeout(20):
        await call.ended.wait()
    assert call.closed_early


@pytest.mark.parametrize("model", ["persona/vampire", "tier/elite"])
async def test_what_costs_money_stays_within_its_limits(
    model: str, palaver_world: Path, connect: Callable[..., AsyncOpenAI]
) -> None:
    """Spend limits hold here as everywhere: with spending off no paid backend is asked."""
    paid = ScriptedBackend("local", "That will be a dollar.")
    kind = replace(scripted_type([paid], name="paid"), paid=True)
    prices = {f"backends.local.usd_per_m_{what}": 1.0 for what in ("prompt", "completion")}
    async with running_server(
        palaver_world,
        overrides={"backends.local.type": "paid", "spend.mode": "off", **prices},
        backend_types=[kind],
    ) as palaver:
        answer = await connect(palaver).chat.completions.create(model=model, messages=HELLO)
        assert answer.choices[0].message.content in ("The night is over.", "Give me a moment.")
        assert answer.model_extra is not None
        outcomes = [one["outcome"] for one in answer.model_extra["palaver"]["trail"]]
        assert outcomes == ["refused", "served"]
    assert paid.calls == []


@pytest.mark.parametrize("model", ["persona/vampire", "tier/elite"])
async def test_the_dialogue_cache_answers(
    model: str, palaver_world: Path, connect: Callable[..., AsyncOpenAI]
) -> None:
    """What was said often enough comes out of the cache; another prompt is another situation."""
    backend = ScriptedBackend("local", *(f"Good evening, number {n}." for n in ("one", "two")))
    async with running_server(
        palaver_world, backend=backend, overrides={"tiers.elite.cache": {"variants": 2}}
    ) as palaver:
        ask = connect(palaver).chat.completions.create
        cached = []
        for number in range(4):
            # A persona remembers whom it talked with, and says nothing of that to others.
            answer = await ask(model=model, messages=HELLO, user=f"user{number}")
            assert answer.model_extra is not None
            cached.append(answer.model_extra["palaver"]["cached"])
        assert cached == [False, False, True, True]
        assert len(backend.calls) == 2
        if model.startswith("tier/"):
            await ask(model=model, messages=TALK[:1] + HELLO)
            assert len(backend.calls) == 3


@pytest.mark.parametrize("model", ["persona/vampire", "tier/elite"])
async def test_no_cached_reply_is_longer_than_was_asked_for(
    model: str, palaver_world: Path, connect: Callable[..., AsyncOpenAI]
) -> None:
    """Who asks for less gets none of the others' replies; a limit beyond the tier's is none."""
    backend = ScriptedBackend("local", *(f"Good evening, {n}." for n in ("one", "two")))
    overrides = {"tiers.elite.cache": {"variants": 1}, "tiers.elite.max_tokens": 50}
    async with running_server(palaver_world, backend=backend, overrides=overrides) as palaver:
        ask = connect(palaver).chat.completions.create
        await ask(model=model, messages=HELLO, user="u1", max_tokens=60)
        short = await ask(model=model, messages=HELLO, user="u2", max_tokens=1)
        assert short.model_extra is not None
        assert not short.model_extra["palaver"]["cached"]
        assert len(backend.calls) == 2
        if model.startswith("persona/"):
            long = await ask(model=model, messages=HELLO, user="u3", max_tokens=60)
            assert long.model_extra is not None
            assert long.model_extra["palaver"]["cached"]


async def test_clients_without_a_name_are_not_one_person(
    palaver_world: Path, connect: Callable[..., AsyncOpenAI]
) -> None:
    """What one heard last is not withheld from the next."""
    backend = ScriptedBackend("local", *(f"Good evening, {n}." for n in ("one", "two", "three")))
    async with running_server(
        palaver_world, backend=backend, overrides={"tiers.elite.cache": {"variants": 1}}
    ) as palaver:
        ask = connect(palaver).chat.completions.create
        for _ in range(4):
            await ask(model="tier/elite", messages=HELLO)
        assert len(backend.calls) == 1


TOKENS = """
[[server.tokens]]
role = "engine"
sha256 = "{engine}"
[[server.tokens]]
role = "player"
player = "ada"
sha256 = "{ada}"
"""


@pytest.fixture
async def guarded(palaver_world: Path) -> AsyncIterator[RunningServer]:
    """A server with the tokens `engine` and `ada`, where an engine has made `vlad`."""
    file = palaver_world / "palaver.toml"
    tokens = TOKENS.format(**{one: sha256(one.encode()).hexdigest() for one in ("engine", "ada")})
    file.write_text(file.read_text("utf-8") + tokens, "utf-8")
    async with running_server(palaver_world) as palaver:
        await palaver.ready(token="engine")
        yield palaver


async def test_tokens(guarded: RunningServer, connect: Callable[..., AsyncOpenAI]) -> None:
    """The API key is a token; a wrong one is an authentication error."""
    stranger = connect(guarded, api_key="wrong")
    with pytest.raises(openai.AuthenticationError) as caught:
        await stranger.chat.completions.create(model="npc/vlad", messages=HELLO)
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        await stranger.models.list()
    engine = connect(guarded, api_key="engine")
    answer = await engine.chat.completions.create(model="persona/zombie", messages=HELLO)
    assert answer.choices[0].message.content


async def test_a_players_token(guarded: RunningServer, connect: Callable[..., AsyncOpenAI]) -> None:
    """It speaks as its own player, to NPCs that exist, and sees no others."""
    ada = connect(guarded, api_key="ada")
    await ada.chat.completions.create(model="npc/vlad", messages=HELLO)
    assert prompt_of(guarded)[-1] == ("user", "Hunger: 0.\n\nada: Good evening.")
    assert [model.id async for model in ada.models.list()] == ["npc/vlad"]
    refused: list[dict[str, Any]] = [
        {"model": "npc/vlad", "user": "bob"},
        {"model": "npc/vlad", "metadata": {"history": "client"}},
        {"model": "npc/vlad", "metadata": {"priority": "background"}},
        {"model": "persona/vampire"},
        {"model": "tier/elite"},
        {"model": "npc/vlad", "metadata": {"game": "elsewhere"}},
    ]
    for more in refused:
        with pytest.raises(openai.PermissionDeniedError):
            await ada.chat.completions.create(**{"messages": HELLO, **more})
    with pytest.raises(openai.NotFoundError):
        await ada.models.retrieve("persona/vampire")


async def test_turns_in_flight_are_bounded(
    palaver_world: Path, connect: Callable[..., AsyncOpenAI]
) -> None:
    """Too many turns at once are a 503 that says when to come back."""
    gate = asyncio.Event()
    backend = ScriptedBackend("local", ["Hold.", gate, Finish()])
    async with running_server(
        palaver_world, backend=backend, overrides={"limits.turns": 1}
    ) as palaver:
        ask = connect(palaver).chat.completions.create
        first = asyncio.create_task(ask(model="tier/elite", messages=HELLO))
        await backend.called()
        with pytest.raises(openai.InternalServerError) as busy:
            await ask(model="tier/elite", messages=HELLO)
        assert (busy.value.status_code, busy.value.code) == (503, "overloaded")
        assert busy.value.response.headers["Retry-After"] == "1"
        gate.set()
        assert (await first).choices[0].message.content == "Hold."


async def test_turns_per_second_are_bounded(
    palaver_world: Path, connect: Callable[..., AsyncOpenAI]
) -> None:
    """Too many in a row are a 429 that says when to come back, for lists of models too."""
    overrides = {"limits.messages_per_s": 0.001}
    async with running_server(palaver_world, overrides=overrides) as palaver:
        client = connect(palaver)
        await client.chat.completions.create(model="tier/elite", messages=HELLO)
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="tier/elite", messages=HELLO)
        assert caught.value.code == "rate_limit_exceeded"
        assert caught.value.response.headers["Retry-After"] == "1"
        with pytest.raises(openai.RateLimitError):
            await client.models.list()
