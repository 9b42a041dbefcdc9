"""A real model server behind Palaver's own WebSocket."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import palaver_prompts
from palaver.chain.backend import Finish, Sampling
from palaver.prompt.sections import Message
from palaver.testing.server import RunningServer
from palaver.testing.turns import make_request
from palaver.world.loader import load_world
from palaver.world.persona import sample_variables
from palaver_adapters.evaluation.voice import VoiceClassifier
from palaver_adapters.training.data import is_held_out
from palaver_adapters.training.texts import UTTERANCES

VOICES = ("vampire", "zombie")
REPLIES = 40
LIMIT_S = 60.0
STORY = "Tell me a long story."


async def until_loaded(server: Any, adapter: str) -> None:
    """Wait until the server lists an adapter."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            _, models = await server.call("/v1/models")
            if any(card["id"] == adapter for card in models["data"]):
                return
            await asyncio.sleep(0.05)


async def idle(server: Any) -> None:
    """Wait until nothing runs at the server, by its own gauge."""
    async with asyncio.timeout(LIMIT_S):
        while await server.running():  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.05)


async def with_adapters(server: Any, palaver: RunningServer) -> Any:
    """Return an engine with an NPC for each voice, once both adapters are loaded."""
    engine = await palaver.ready("vampire", "vampire")
    await engine.send({"type": "npc.upsert", "npc": "zombie", "persona": "zombie"})
    for npc in VOICES:
        done = await engine.say(npc, "Hello.", turn=f"load {npc}")
        assert done["served_by"]["backend"] == "local", done
        await until_loaded(server, f"{npc}@1")
    return engine


async def test_up_starts_it_with_the_adapters_of_the_world(server: Any) -> None:
    """`palaver vllm up` waits for the server and loads the adapters of the world."""
    assert f"tiny is ready at {server.url}" in server.output
    assert "adapters: vampire@1, zombie@1" in server.output
    _, models = await server.call("/v1/models")
    assert {card["id"] for card in models["data"]} >= {"tiny"}
    status = await asyncio.to_thread(server.palaver, "status", str(server.world))
    assert f"local: ready at {server.url}, tiny" in status


async def test_streams_turns_through_our_own_websocket(server: Any, palaver: RunningServer) -> None:
    """A turn's words come piece by piece, spoken by the persona's adapter."""
    engine = await with_adapters(server, palaver)
    done = await engine.say("vampire", "Who are you?", turn="t1", seed=3)
    assert done["status"] in ("completed", "truncated")
    assert done["served_by"] == {
        "backend": "local",
        "type": "vllm",
        "model": "tiny",
        "adapter": "vampire@1",
    }
    assert done["usage"]["prompt_tokens"] > 100
    assert done["usage"]["completion_tokens"] > 2
    assert [entry["outcome"] for entry in done["trail"]] == ["served"]
    assert len(engine.turn_messages("t1", "turn.delta")) > 1


def persona_prompts(world: Path) -> dict[str, str]:
    """Return what a model reads of each persona."""
    snapshot = load_world(world, [palaver_prompts.TEMPLATES], trusted=True)
    return {
        voice: "\n\n".join(
            text
            for _, text in snapshot.personas[voice].template.render(
                sample_variables(snapshot.personas[voice])
            )
        )
        for voice in VOICES
    }


async def replies(
    backend: Any, prompts: Mapping[str, str], *, adapters: bool
) -> AsyncIterator[tuple[str, str]]:
    """Yield 40 replies with the voice that was asked for, each under its own persona's prompt."""
    spoken = [text for texts in UTTERANCES.values() for text in texts]
    for number in range(REPLIES):
        voice = VOICES[number % 2]
        text = spoken[(number * 7) % len(spoken)]
        request = make_request(
            text,
            messages=[Message("system", prompts[voice]), Message("user", text)],
            adapter=f"{voice}@1" if adapters else None,
            seed=number,
            sampling=Sampling(temperature=0.8, max_tokens=60),
        )
        async with aclosing(backend.generate(request)) as stream:
            *pieces, finish = [piece async for piece in stream]
        assert isinstance(finish, Finish)
        assert finish.adapter == request.adapter, finish.note
        yield voice, "".join(map(str, pieces))


def held_out(world: Path) -> Sequence[tuple[str, str]]:
    """Return the authored lines that no model has seen, with their voices."""
    found = []
    for voice in VOICES:
        with (world / "lines" / f"{voice}.csv").open(encoding="utf-8", newline="") as file:
            found += [
                (voice, row["text"]) for row in csv.DictReader(file) if is_held_out(row["id"])
            ]
    return found


async def test_each_adapter_has_its_own_voice(
    server: Any,
    world: Path,
    palaver: RunningServer,
    make_backend: Any,
    record_testsuite_property: Any,
) -> None:
    """A classifier names the adapter of 80 % of the replies; without adapters it has to guess."""
    lines = await asyncio.to_thread(held_out, world)
    assert min(sum(voice == one for one, _ in lines) for voice in VOICES) >= 8
    classifier = VoiceClassifier(lines)
    await with_adapters(server, palaver)
    backend = make_backend()
    await backend.start()
    prompts = await asyncio.to_thread(persona_prompts, world)
    said = [reply async for reply in replies(backend, prompts, adapters=True)]
    plain = [reply async for reply in replies(backend, prompts, adapters=False)]
    record_testsuite_property("named rightly with adapters", classifier.accuracy(said))
    record_testsuite_property("named rightly without", classifier.accuracy(plain))
    assert classifier.accuracy(said) >= 0.8, said
    assert 0.3 <= classifier.accuracy(plain) <= 0.7, plain


async def test_loads_an_adapter_while_another_one_speaks(
    server: Any, palaver: RunningServer, make_backend: Any
) -> None:
    """The second adapter is loaded while a stream of the first runs, which goes on."""
    await with_adapters(server, palaver)
    await server.unload("zombie@1")
    backend = make_backend(extra_body={"ignore_eos": True}, load_wait_ms=200)
    await backend.start()
    long = make_request(adapter="vampire@1", sampling=Sampling(max_tokens=3000))
    short = make_request(adapter="zombie@1", sampling=Sampling(max_tokens=8))

    async def brief() -> Finish:
        async with aclosing(backend.generate(short)) as stream:
            *_, finish = [piece async for piece in stream]
        assert isinstance(finish, Finish)
        return finish

    async with asyncio.timeout(LIMIT_S), aclosing(backend.generate(long)) as stream:
        assert isinstance(await anext(stream), str)
        first = await brief()
        assert (first.adapter, first.note) == (None, "adapter zombie@1 not loaded yet")
        await backend.replicas[0].loaded()
        assert (await brief()).adapter == "zombie@1"
        assert await server.running() == 1
        for _ in range(5):
            assert isinstance(await anext(stream), str)
    await idle(server)


async def say(backend: Any, **fields: Any) -> str:
    """Return what a backend says to a request."""
    async with aclosing(backend.generate(make_request(**fields))) as stream:
        return "".join([piece async for piece in stream if isinstance(piece, str)])


async def test_a_reply_can_have_a_schema(make_backend: Any) -> None:
    """With a schema the reply is JSON that matches it."""
    sampling = Sampling(temperature=0, max_tokens=12)
    reply = await say(make_backend(), schema={"enum": ["yes", "no"]}, sampling=sampling)
    assert json.loads(reply) in ("yes", "no")


async def test_a_seed_repeats_a_reply(make_backend: Any) -> None:
    """The same seed makes the same reply, and a stop string ends it."""
    sampling = Sampling(temperature=0.9, max_tokens=16)
    backend = make_backend()
    first, again, other = [await say(backend, seed=seed, sampling=sampling) for seed in (5, 5, 6)]
    assert first == again != other
    stop = first.split()[1]
    sampling = Sampling(temperature=0.9, max_tokens=16, stop=(stop,))
    assert await say(backend, seed=5, sampling=sampling) == first.partition(stop)[0]


async def test_what_was_shown_is_continued(make_backend: Any) -> None:
    """A reply of which a part was shown goes on from there, without saying it again."""
    sampling = Sampling(temperature=0, max_tokens=8)
    backend = make_backend()
    whole = await say(backend, sampling=sampling)
    shown = whole.rpartition(" ")[0]
    rest = await say(backend, sampling=sampling, shown=shown)
    assert rest
    assert not rest.startswith(shown)


async def test_cancelling_a_turn_ends_the_generation(
    server: Any, long_winded: RunningServer
) -> None:
    """After a cancel the server's own gauge of running requests falls to 0."""
    engine = await with_adapters(server, long_winded)
    await idle(server)
    await engine.send({"type": "turn.start", "turn": "c", "npc": "vampire", "text": STORY})
    await engine.until("turn.delta", turn="c")
    assert await server.running() == 1
    await engine.send({"type": "turn.cancel", "turn": "c"})
    done = await engine.finish("c")
    assert done["status"] == "cancelled"
    await idle(server)


async def test_two_npcs_of_one_persona_share_the_prefix(
    server: Any, palaver: RunningServer
) -> None:
    """The second NPC of a persona finds the persona's prompt in the server's prefix cache."""
    engine = await with_adapters(server, palaver)
    for npc in ("first", "second"):
        await engine.send({"type": "npc.upsert", "npc": npc, "persona": "vampire"})
    done = await engine.say("first", "Good evening.", turn="p1")
    before = await server.metric("vllm:prefix_cache_hits_total")
    await engine.say("second", "What is this place?", turn="p2")
    hits = await server.metric("vllm:prefix_cache_hits_total") - before
    assert hits > 0.5 * done["usage"]["prompt_tokens"]


async def test_it_tells_what_metrics_show(server: Any, make_backend: Any) -> None:
    """Under the names that this version of vLLM has, every reading is there, with numbers."""
    backend = make_backend()
    async with aclosing(backend.generate(make_request())) as stream:
        async for _ in stream:
            pass
    await idle(server)
    readings = {one.name: one for one in await backend.readings()}
    assert {name for name in readings if name.startswith("model_server_")} == {
        "model_server_running_requests",
        "model_server_waiting_requests",
        "model_server_kv_cache_ratio",
        "model_server_preemptions_total",
        "model_server_prefix_cache_queried_tokens_total",
        "model_server_prefix_cache_hit_tokens_total",
        "model_server_prompt_tokens_total",
        "model_server_generation_tokens_total",
    }
    assert readings["model_server_generation_tokens_total"].value > 0
    assert 0 <= readings["model_server_kv_cache_ratio"].value <= 1


async def test_static_takes_over_when_the_server_is_killed(
    server: Any, long_winded: RunningServer
) -> None:
    """A server that is killed in the middle of a line costs neither that line nor the next."""
    engine = await with_adapters(server, long_winded)
    await engine.send({"type": "turn.start", "turn": "k", "npc": "vampire", "text": STORY})
    await engine.until("turn.delta", turn="k")
    server.kill()
    done = await engine.finish("k")
    assert done["status"] == "rescued", done
    assert done["served_by"]["type"] == "static"
    assert done["trail"][0]["outcome"] == "died"
    after = await engine.say("vampire", "Who are you?", turn="k2")
    assert after["status"] == "completed"
    assert after["served_by"]["type"] == "static"
    assert after["trail"][0]["backend"] == "local"
    assert after["trail"][0]["outcome"] == "failed"
    assert after["text"]
