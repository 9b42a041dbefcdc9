import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from palaver.chain.backend import Finish, GenerateRequest
from palaver.errors import BackendUnavailable, ConfigError
from palaver.testing.scripted import Pause, ScriptedBackend, scripted_type
from palaver.testing.server import running_server


def request() -> GenerateRequest:
    """Return a request; the scripted backend does not look into it."""
    return GenerateRequest(turn=None, messages=())  # type: ignore[arg-type]  # never used


async def test_plays_one_reply_after_the_other() -> None:
    """Each call plays the next script and the last one is repeated."""
    backend = ScriptedBackend("local", ["Good ", Pause(0), "evening.", Finish()], "Leave.")
    assert [part async for part in backend.generate(request())] == ["Good ", "evening.", Finish()]
    for _ in range(2):
        assert [part async for part in backend.generate(request())] == ["Leave.", Finish()]
    assert [call.outcome for call in backend.calls] == ["whole"] * 3


async def test_waits_and_fails() -> None:
    """A script waits for an event and raises what stands in it."""
    held = asyncio.Event()
    backend = ScriptedBackend("local", ["Good ", held, BackendUnavailable("local", "is down")])
    async with aclosing(backend.generate(request())) as reply:
        assert await anext(reply) == "Good "
        rest = asyncio.ensure_future(anext(reply))
        await asyncio.sleep(0)
        assert not rest.done()
        held.set()
        with pytest.raises(BackendUnavailable):
            await rest
    assert backend.calls[0].outcome == "failed"


@pytest.mark.parametrize("cancel", [True, False], ids=["cancelled", "closed"])
async def test_records_that_it_was_closed_early(cancel: bool) -> None:
    """A reply that nobody wants to the end is recorded as closed early, with what was said."""
    backend = ScriptedBackend("local", ["Good ", asyncio.Event() if cancel else "day."])

    async def take() -> None:
        async with aclosing(backend.generate(request())) as reply:
            async for _ in reply:
                if not cancel:
                    break

    task = asyncio.create_task(take())
    call = await backend.called()
    if cancel:
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    await call.ended.wait()
    assert call.closed_early
    assert call.said == "Good "


async def test_stopping_after_the_last_step_is_not_early() -> None:
    """Leaving the loop after the finish leaves a whole reply."""
    backend = ScriptedBackend("local", "Leave.")
    async with aclosing(backend.generate(request())) as reply:
        async for part in reply:
            if isinstance(part, Finish):
                break
    assert backend.calls[0].outcome == "whole"


def test_is_a_type_for_worlds() -> None:
    """A scripted backend can be named in `palaver.toml`."""
    backend = ScriptedBackend("local")
    made = scripted_type([backend])
    settings = made.settings(type="scripted", context_tokens=256)
    assert made.create("local", settings, None) is backend  # type: ignore[arg-type]  # never used
    assert backend.settings.context_tokens == 256


async def test_texts_of_a_list_arrive_as_pieces(palaver_world: Path) -> None:
    """What is given in pieces is sent in pieces, the first ones too, where nothing is joined."""
    async with running_server(palaver_world, overrides={"limits.delta_ms": 0}) as palaver:
        palaver.backend.replies = [["Good ", "eve", "ning."]]
        engine = await palaver.ready()
        done = await engine.say("vlad", "Hello.", turn="t")
        assert done["text"] == "Good evening."
        deltas = [message["text"] for message in engine.log if message["type"] == "turn.delta"]
        assert deltas == ["Good", " eve", "ning."]


async def test_a_world_without_a_scripted_backend(palaver_world: Path) -> None:
    """Replies that nobody would hear are refused, with the way to a backend that says them."""
    settings = palaver_world / "palaver.toml"
    table = '[backends.local]\ntype = "scripted"\n'
    settings.write_text(settings.read_text(encoding="utf-8").replace(table, ""), encoding="utf-8")
    async with running_server(palaver_world) as palaver:
        with pytest.raises(ConfigError, match=r'overrides=\{"backends.local.type": "scripted"\}'):
            palaver.backend.replies = ["Never."]
    overrides = {"backends.local.type": "scripted"}
    async with running_server(palaver_world, overrides=overrides) as palaver:
        palaver.backend.replies = ["Heard."]
        assert (await (await palaver.ready()).say("vlad", "Hello.", turn="t"))["text"] == "Heard."


async def test_a_scripted_backend_of_another_name(palaver_world: Path) -> None:
    """A table that no scripted backend belongs to is refused, with the names there are."""
    with pytest.raises(ConfigError, match=r"'other'.*local"):
        async with running_server(palaver_world, overrides={"backends.other.type": "scripted"}):
            pass
