"""Each hook keeps what its docstring promises, on a real gateway and server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.sync.client import connect

from palaver import Place, Section
from palaver.chain.backend import Finish
from palaver.chain.runner import ChainRunner
from palaver.hookspecs import hookimpl
from palaver.testing.scripted import Pause, ScriptedBackend, scripted_type
from palaver.testing.server import RunningServer, running_server
from palaver.turn import context
from palaver.turn.events import Emotion, Event, Stop, Text
from palaver.turn.model import Turn

SITUATION = (
    "mood={{ npc.mood }} intent={{ intent }} moon={{ context.moon }} "
    "hunger={{ facts.hunger }} tide={{ context.tide }}"
)
WAIT_S = 20


def hooks(**functions: Callable[..., Any]) -> SimpleNamespace:
    """Return a plugin of these hooks, named without `palaver_`."""
    return SimpleNamespace(
        **{f"palaver_{name}": hookimpl(function) for name, function in functions.items()}
    )


def prompt_of(palaver: RunningServer, call: int = -1) -> str:
    """Return the whole prompt of one call of the backend."""
    return "\n".join(message.content for message in palaver.backend.requests[call].messages)


def trail(done: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the trail of a turn without times and reasons."""
    return [(attempt["backend"], attempt["outcome"]) for attempt in done["trail"]]


Serve = Callable[..., AbstractAsyncContextManager[RunningServer]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, memory is not left out."""
    monkeypatch.setattr(context, "RECALL_S", WAIT_S)


@pytest.fixture
def serve(palaver_world: Path) -> Serve:
    """Runs a server with these plugins; its vampire's prompt shows what a turn knows."""
    persona = palaver_world / "personas" / "vampire.md"
    text = persona.read_text(encoding="utf-8").replace(
        "Hunger: {{ facts.hunger }}.", SITUATION.replace("\n", " ")
    )
    persona.write_text(text, encoding="utf-8")

    @asynccontextmanager
    async def run(
        *plugins: object, hook_ms: int = 20_000, **overrides: Any
    ) -> AsyncIterator[RunningServer]:
        settings = {"limits.hook_ms": hook_ms}
        settings.update({key.replace("__", "."): value for key, value in overrides.items()})
        named = {f"plugin{number}": plugin for number, plugin in enumerate(plugins)}
        static = ScriptedBackend("static", "An authored line.")
        async with running_server(
            palaver_world,
            overrides=settings,
            plugins=named,
            backend_types=[scripted_type([static], name="static", instant=True)],
        ) as palaver:
            yield palaver

    return run


class Seen:
    """A plugin that keeps the turns that are over."""

    def __init__(self) -> None:
        self.turns: asyncio.Queue[Turn] = asyncio.Queue()

    @hookimpl
    def palaver_turn_finished(self, turn: Turn) -> None:
        self.turns.put_nowait(turn)

    async def last(self) -> Turn:
        async with asyncio.timeout(WAIT_S):
            return await self.turns.get()


# --- palaver_turn_received ----------------------------------------------------------------------


async def test_received_is_called_in_order_after_the_core(serve: Serve) -> None:
    """The core's own sets the intent first, then plugins follow one after another."""
    order: list[str] = []

    async def slow(turn: Turn) -> None:
        order.append(f"slow begins: {turn.intent}")
        for _ in range(5):
            await asyncio.sleep(0)
        order.append("slow ends")

    async with serve(
        hooks(turn_received=slow),
        hooks(turn_received=lambda turn: order.append("quick")),
    ) as palaver:
        engine = await palaver.ready()
        await engine.say("vlad", "Good evening!", turn="t1", player="ada")
        assert order == ["slow begins: greeting", "slow ends", "quick"]
        await engine.say("vlad", "Farewell!", turn="t2", player="ada")
        assert order[3:] == ["slow begins: farewell", "slow ends", "quick"]


async def test_received_may_change_the_turn(serve: Serve) -> None:
    """Text, intent, mood and tier that a plugin sets are those of the turn."""

    def change(turn: Turn) -> None:
        turn.text = "What I meant to say."
        turn.intent, turn.mood, turn.tier_name = "quest", "afraid", "boss"

    async with serve(hooks(turn_received=change), tiers__boss__max_tokens=33) as palaver:
        engine = await palaver.ready()
        await engine.say("vlad", "Hello.", turn="t", player="ada")
        prompt, request = prompt_of(palaver), palaver.backend.requests[0]
        assert "What I meant to say." in prompt
        assert "Hello." not in prompt
        assert "mood=afraid intent=quest" in prompt
        assert request.turn.tier is palaver.gateway.settings.tiers["boss"]
        assert request.sampling.max_tokens == 33


async def test_received_may_name_a_tier_that_is_not_there(serve: Serve) -> None:
    """Then the turn keeps its own, and its trace says so."""
    seen = Seen()

    def change(turn: Turn) -> None:
        turn.tier_name = "mythic"

    async with serve(hooks(turn_received=change), seen) as palaver:
        engine = await palaver.ready()
        done = await engine.say("vlad", "Hello.", turn="t")
        assert trail(done) == [("local", "served")]
        turn = await seen.last()
        assert any("'mythic'" in note for note in turn.trace)
        # Ceilings, situations of the cache and labels of metrics go by that name.
        assert turn.tier_name == "elite"


async def test_received_sees_the_facts(serve: Serve) -> None:
    """`turn.variables` holds the facts, as templates see them."""
    seen: list[Any] = []
    async with serve(
        hooks(turn_received=lambda turn: seen.append(turn.variables["facts"]["hunger"]))
    ) as palaver:
        engine = await palaver.ready()
        await engine.say("vlad", "Hello.", turn="t1")
        await engine.send({"type": "facts.update", "npc": "vlad", "set": {"hunger": 8}})
        await engine.say("vlad", "Hello.", turn="t2")
        assert seen == [0, 8]


@pytest.mark.parametrize("how", ["at once", "after a wait"])
async def test_received_may_refuse(how: str, serve: Serve) -> None:
    """Last words are spoken, the trail says why, nobody else is asked, nothing is remembered."""
    asked: list[Turn] = []
    seen = Seen()

    async def later(turn: Turn) -> None:
        await asyncio.sleep(0)
        refuse(turn)

    def refuse(turn: Turn) -> None:
        if "vile" in turn.text:
            turn.refuse("not for children")

    first = refuse if how == "at once" else later
    async with serve(
        hooks(turn_received=first), hooks(turn_received=lambda turn: asked.append(turn)), seen
    ) as palaver:
        engine = await palaver.ready()
        done = await engine.say("vlad", "Something vile.", turn="t1", player="ada")
        assert done["text"] == "The night is over."
        assert done["status"] == "completed"
        assert done["served_by"]["backend"] == "last_words"
        assert trail(done) == [("last_words", "served")]
        assert done["trail"][0]["reason"] == "refused: not for children"
        assert palaver.backend.calls == []
        assert asked == []
        assert (await seen.last()).trace == ["refused by plugin0: not for children"]
        await engine.say("vlad", "Something nice.", turn="t2", player="ada")
        assert "vile" not in prompt_of(palaver), "what was refused reaches no model later either"


async def forever(turn: Turn) -> None:
    """Never return."""
    await asyncio.Event().wait()


async def broken(turn: Turn) -> None:
    """Fail."""
    await asyncio.sleep(0)
    raise RuntimeError("a bug")


async def cancelled(turn: Turn) -> None:
    """Fail as code does that awaits a task it has cancelled itself."""
    task = asyncio.create_task(asyncio.sleep(0))
    task.cancel()
    await task


async def stubborn(turn: Turn) -> None:
    """Go on although cancelled, as clean-up that never ends does."""
    try:
        await asyncio.Event().wait()
    finally:
        await GATE.wait()


GATE = asyncio.Event()
"""Opened at the end of a test, so that nothing is left behind."""


@pytest.fixture(autouse=True)
def gate() -> Iterable[asyncio.Event]:
    """A fresh gate."""
    global GATE
    GATE = asyncio.Event()
    return GATE


FAULTS = [
    pytest.param(forever, "took longer than 50 ms", 50, id="forever"),
    pytest.param(stubborn, "took longer than 50 ms", 50, id="stubborn"),
    pytest.param(broken, "failed", 20_000, id="raises"),
    pytest.param(cancelled, "failed", 20_000, id="cancels itself"),
]


@pytest.mark.parametrize(("fault", "words", "hook_ms"), FAULTS)
@pytest.mark.parametrize("hook", ["turn_received", "build_context"])
async def test_a_plugin_at_fault_is_left_behind(
    hook: str, fault: Any, words: str, hook_ms: int, serve: Serve
) -> None:
    """The turn goes on without it, others are asked all the same, and the trace names it."""
    seen, asked = Seen(), []
    other = {hook: lambda turn: asked.append(turn.id)}
    async with serve(hooks(**{hook: fault}), hooks(**other), seen, hook_ms=hook_ms) as palaver:
        engine = await palaver.ready()
        done = await engine.say("vlad", "Hello.", turn="t")
        assert (done["status"], done["text"]) == ("completed", "Good evening.")
        assert asked == ["t"]
        assert (await seen.last()).trace == [f"plugin plugin0 {words}" + (f" in palaver_{hook}")]
        GATE.set()


# --- palaver_build_context ----------------------------------------------------------------------


async def test_contexts_are_merged(serve: Serve) -> None:
    """All plugins run side by side; of the same key the one registered later wins."""
    meeting = asyncio.Barrier(2)
    later_is_done = asyncio.Event()

    async def earlier(turn: Turn) -> dict[str, Any]:
        await meeting.wait()
        await later_is_done.wait()
        return {"moon": "dark", "tide": "low"}

    async def later(turn: Turn) -> dict[str, Any]:
        await meeting.wait()
        later_is_done.set()
        return {"moon": "full"}

    async with serve(
        hooks(build_context=earlier),
        hooks(build_context=later),
        hooks(build_context=lambda turn: None),
    ) as palaver:
        engine = await palaver.ready()
        await engine.say("vlad", "Hello.", turn="t")
        assert "moon=full" in prompt_of(palaver)
        assert "tide=low" in prompt_of(palaver)


async def test_a_context_is_made_harmless(serve: Serve) -> None:
    """Control tokens of models and our own tags in a context reach no prompt."""
    bad = {"moon": "<|im_start|>system", "tide": ["[INST]", {"a": "<do wave>"}]}
    async with serve(hooks(build_context=lambda turn: bad)) as palaver:
        engine = await palaver.ready()
        await engine.say("vlad", "Hello.", turn="t")
        prompt = prompt_of(palaver)
        for token in ("<|im_start|>", "[INST]", "<do wave>"):
            assert token not in prompt


async def test_a_context_that_is_none(serve: Serve) -> None:
    """What is no mapping is left out and named."""
    seen = Seen()
    async with serve(hooks(build_context=lambda turn: ["moon"]), seen) as palaver:
        engine = await palaver.ready()
        await engine.say("vlad", "Hello.", turn="t")
        (note,) = (await seen.last()).trace
        assert note == "plugin plugin0 returned no mapping from palaver_build_context"


async def test_context_comes_after_memory(serve: Serve) -> None:
    """Plugins see intent, mood and what was said before."""
    seen: list[tuple[str, list[str]]] = []

    def look(turn: Turn) -> None:
        seen.append((turn.intent, [past.said for past in turn.history]))

    async with serve(hooks(build_context=look)) as palaver:
        engine = await palaver.ready()
        await engine.say("vlad", "Good evening!", turn="t1", player="ada")
        await engine.say("vlad", "Farewell!", turn="t2", player="ada")
        assert seen == [("greeting", []), ("farewell", ["Good evening!"])]


# --- palaver_prompt -----------------------------------------------------------------------------


async def test_prompts_are_edited_in_order(serve: Serve) -> None:
    """Plugins add, change and remove sections, each seeing what the one before it did."""

    def add(turn: Turn, prompt: Any) -> None:
        prompt.add(Section("weather", "user", "It rains.", 20, "weather", Place.MOMENT))
        prompt.add(Section("oath", "system", "You never lie.", 90, "oath", Place.STABLE))

    def change(prompt: Any) -> None:
        prompt.get("weather").text += " It pours."
        prompt.remove("situation")

    async with serve(hooks(prompt=add), hooks(prompt=change)) as palaver:
        engine = await palaver.ready()
        await engine.say("vlad", "Hello.", turn="t", player="ada")
        system, user = palaver.backend.requests[0].messages
        assert system == ("system", "You are Vlad.\n\nYou never lie.")
        assert user == ("user", "It rains. It pours.\n\nada: Hello.")


async def test_a_failing_prompt_plugin_is_named(serve: Serve) -> None:
    """The prompt stays as the plugin left it, and the next one edits on."""
    seen = Seen()

    def fail(turn: Turn, prompt: Any) -> None:
        prompt.remove("situation")
        raise KeyError("a bug")

    def add(prompt: Any) -> None:
        prompt.add(Section("weather", "user", "It rains.", 20, "weather", Place.MOMENT))

    async with serve(hooks(prompt=fail), hooks(prompt=add), seen) as palaver:
        engine = await palaver.ready()
        await engine.say("vlad", "Hello.", turn="t")
        assert "It rains." in prompt_of(palaver)
        assert (await seen.last()).trace == ["plugin plugin0 failed in palaver_prompt"]


@pytest.mark.parametrize(
    "spoil",
    [lambda prompt: prompt.sections.append("It rains."), lambda prompt: prompt.sections.clear()],
    ids=["no section", "nothing left"],
)
async def test_a_prompt_that_was_spoilt(spoil: Callable[[Any], None], serve: Serve) -> None:
    """Whatever a plugin makes of the prompt, the character answers."""
    async with serve(hooks(prompt=lambda prompt: spoil(prompt))) as palaver:
        engine = await palaver.ready()
        done = await engine.say("vlad", "Hello.", turn="t")
        assert done["text"]


# --- palaver_route ------------------------------------------------------------------------------


async def test_the_route_registered_last_is_asked_first(serve: Serve) -> None:
    """The first result that is not None counts, and the others are not asked."""
    asked: list[tuple[str, tuple[str, ...]]] = []

    def route(name: str, result: Any) -> Callable[..., Any]:
        def chosen(turn: Turn, chain: Any) -> Any:
            asked.append((name, tuple(chain)))
            return result

        return chosen

    async with serve(
        hooks(route=route("first", ["local"])),
        hooks(route=route("second", ["nobody", "static"])),
        hooks(route=route("third", None)),
        tiers__elite__chain=["premium", "local", "static"],
    ) as palaver:
        engine = await palaver.ready()
        done = await engine.say("vlad", "Hello.", turn="t")
        assert trail(done) == [("static", "served")], "names that are not configured are skipped"
        configured = ("local", "static")
        assert asked == [("third", configured), ("second", configured)]


async def test_without_a_route_the_tiers_chain_is_used(serve: Serve) -> None:
    """All plugins may leave the choice to others."""
    async with serve(hooks(route=lambda turn, chain: None)) as palaver:
        engine = await palaver.ready()
        assert trail(await engine.say("vlad", "Hello.", turn="t")) == [("local", "served")]


@pytest.mark.parametrize("chosen", [[], ["nobody"]], ids=["nobody", "unknown"])
async def test_a_route_to_nowhere(chosen: list[str], serve: Serve) -> None:
    """A route without a configured backend still leaves the last words."""
    async with serve(hooks(route=lambda turn: chosen)) as palaver:
        engine = await palaver.ready()
        done = await engine.say("vlad", "Hello.", turn="t")
        assert done["text"] == "The night is over."


@pytest.mark.parametrize(
    "wrong",
    [lambda turn: 1 / 0, lambda turn: 5, lambda turn: "static", lambda turn: [None, 3]],
    ids=["raises", "number", "text", "not names"],
)
async def test_a_route_that_is_none(wrong: Callable[..., Any], serve: Serve) -> None:
    """A plugin that raises, or returns no list of names, is named and the next one asked."""
    seen = Seen()
    async with serve(
        hooks(route=lambda turn: ["static"]),
        hooks(route=wrong),
        seen,
        tiers__elite__chain=["local"],
    ) as palaver:
        engine = await palaver.ready()
        assert trail(await engine.say("vlad", "Hello.", turn="t")) == [("static", "served")]
        assert "plugin plugin1 failed in palaver_route" in (await seen.last()).trace


# --- palaver_filter -----------------------------------------------------------------------------


class Change:
    """A filter that changes each text, and keeps the events it saw."""

    def __init__(self, change: Callable[[str], str] = str, end: str = "") -> None:
        self.change, self.end = change, end
        self.events: list[Event] = []

    def feed(self, event: Event) -> list[Event]:
        self.events.append(event)
        return [Text(self.change(event.text))] if isinstance(event, Text) else [event]

    def flush(self) -> list[Event]:
        return [Text(self.end)] if self.end else []


class Waiting(Change):
    """The same, which has to wait."""

    async def feed(self, event: Event) -> list[Event]:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().feed(event)

    async def flush(self) -> list[Event]:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().flush()


async def test_filters_are_chained_after_the_core(serve: Serve) -> None:
    """Tags are events already; then each filter gets what the one before it returned."""
    first = Change(lambda text: text.replace("evening", "night"))
    second = Change(str.upper, end=" the end.")
    made: list[str] = []

    def make(turn: Turn) -> Change:
        made.append(turn.id)
        return first

    async with serve(
        hooks(filter=make), hooks(filter=lambda turn: None), hooks(filter=lambda turn: second)
    ) as palaver:
        palaver.backend.replies = [["<feel ", "joy 0.5>Good ", "evening.", Finish()]]
        engine = await palaver.ready()
        done = await engine.say("vlad", "Hello.", turn="t")
        assert done["text"] == "GOOD NIGHT. the end."
        assert first.events[0] == Emotion("joy", 0.5)
        assert engine.turn_messages("t", "turn.emotion")[0]["name"] == "joy"
        assert made == ["t"]


class Stopping(Change):
    """Ends the line at a secret."""

    def feed(self, event: Event) -> list[Event]:
        if isinstance(event, Text) and "secret" in event.text:
            return [Stop("a secret")]
        return [event]


class StoppingLong(Waiting, Stopping):
    """The same, which has to wait."""


@pytest.mark.parametrize(
    ("make", "text"),
    [(Stopping, "I know. You"), (StoppingLong, "I know.")],
    ids=["sync", "async"],
)
async def test_stop_ends_the_line(make: type[Change], text: str, serve: Serve) -> None:
    """Nothing after it is shown, and the backend is no longer asked for more."""
    seen = Seen()
    async with serve(hooks(filter=lambda turn: make()), seen) as palaver:
        shown = asyncio.Event()
        endless = ["A secret! ", "It is ", Pause(1)] * 1_000
        palaver.backend.replies = [["I know. You ", shown, *endless]]
        engine = await palaver.ready()
        start = {"type": "turn.start", "turn": "t", "npc": "vlad", "text": "Hello."}
        await engine.send(start)
        await engine.until("turn.delta")
        shown.set()
        done = await engine.finish("t")
        assert (done["status"], done["text"]) == ("completed", text)
        assert palaver.backend.calls[0].closed_early
        assert "a filter ended the line: a secret" in (await seen.last()).trace


class HoldingLong(Waiting):
    """Holds two sentences back and then fails, or is late."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late = late

    async def feed(self, event: Event) -> list[Event]:  # type: ignore[override]
        if len(self.events) == 2:
            if self.late:
                await asyncio.Event().wait()
            raise RuntimeError("a bug")
        self.events.append(event)
        if isinstance(event, Text):
            self.end += f"{event.text} "
        return []


class Twice:
    """Gives a text out and fails afterwards."""

    def feed(self, event: Event) -> Iterable[Event]:
        yield event
        raise RuntimeError("a bug")

    def flush(self) -> list[Event]:
        return []


@pytest.mark.parametrize(
    ("make", "words", "hook_ms"),
    [
        (lambda: HoldingLong(late=False), "failed", 20_000),
        (lambda: HoldingLong(late=True), "was late", 50),
        (Twice, "failed", 20_000),
    ],
    ids=["async fails", "async is late", "generator fails"],
)
async def test_a_filter_at_fault_is_taken_out(
    make: Callable[[], Any], words: str, hook_ms: int, serve: Serve
) -> None:
    """What it held is shown, once; the trace names it; the filters after it work on."""
    seen = Seen()
    async with serve(
        hooks(filter=lambda turn: make()),
        hooks(filter=lambda turn: Change(str.upper)),
        seen,
        hook_ms=hook_ms,
    ) as palaver:
        palaver.backend.replies = [["One. ", "Two. ", "Three. ", "Four.", Finish()]]
        engine = await palaver.ready()
        done = await engine.say("vlad", "Hello.", turn="t")
        assert done["text"].split() == ["ONE.", "TWO.", "THREE.", "FOUR."]
        assert f"the filter of plugin plugin0 {words}" in (await seen.last()).trace


@pytest.mark.parametrize(
    "make",
    [lambda turn: 1 / 0, lambda turn: "upper", lambda turn: SimpleNamespace(feed=str)],
    ids=["raises", "no filter", "half a filter"],
)
async def test_what_is_no_filter(make: Callable[..., Any], serve: Serve) -> None:
    """A plugin that raises or returns something else is named, and the reply goes on."""
    seen = Seen()
    async with serve(hooks(filter=make), hooks(filter=lambda turn: Change(str.upper)), seen) as p:
        engine = await p.ready()
        done = await engine.say("vlad", "Hello.", turn="t")
        assert done["text"] == "GOOD EVENING."
        assert "plugin plugin0 failed in palaver_filter" in (await seen.last()).trace


async def test_async_filters_get_whole_sentences(serve: Serve) -> None:
    """However the model cuts its tokens."""
    sentences = Waiting()
    async with serve(hooks(filter=lambda turn: sentences)) as palaver:
        palaver.backend.replies = [["It is", " late. Si", "t. You mu", "st be cold.", Finish()]]
        engine = await palaver.ready()
        done = await engine.say("vlad", "Hello.", turn="t")
        assert done["text"] == "It is late. Sit. You must be cold."
        texts = [event.text for event in sentences.events if isinstance(event, Text)]
        assert texts == ["It is late.", "Sit.", "You must be cold."]


# --- palaver_turn_finished ----------------------------------------------------------------------


async def test_finished_delays_nobody(serve: Serve) -> None:
    """Neither turn.done nor the next turn waits for it, and all plugins are called."""
    gate, over = asyncio.Event(), asyncio.Event()
    told: list[str] = []

    async def slow(turn: Turn, result: Any) -> None:
        await gate.wait()
        told.append(f"{turn.id}: {result.text} {result.served_by.backend}")
        if len(told) == 2:
            over.set()

    def fail(turn: Turn) -> None:
        raise RuntimeError("a bug")

    seen = Seen()
    async with serve(hooks(turn_finished=slow), hooks(turn_finished=fail), seen) as palaver:
        engine = await palaver.ready()
        await engine.say("vlad", "Hello.", turn="t1", player="ada")
        await engine.say("vlad", "Hello.", turn="t2", player="ada")
        assert [(await seen.last()).id, (await seen.last()).id] == ["t1", "t2"]
        assert told == []
        gate.set()
        await asyncio.wait_for(over.wait(), WAIT_S)
        assert sorted(told) == ["t1: Good evening. local", "t2: Good evening. local"]


async def test_finished_comes_after_the_words_are_out(serve: Serve) -> None:
    """A plugin that is slow without waiting holds up the server, but not the turn's own words."""
    arrived = threading.Event()
    outcome: asyncio.Queue[bool] = asyncio.Queue()

    def blocking() -> None:
        outcome.put_nowait(arrived.wait(WAIT_S))

    def play(url: str) -> str:
        with connect(url, subprotocols=["palaver.v1"], compression=None) as socket:  # type: ignore[list-item]
            for message in (
                '{"type":"session.start","protocol":1,"client":{"name":"thread"}}',
                '{"type":"npc.upsert","npc":"vlad","persona":"vampire"}',
                '{"type":"turn.start","turn":"t","npc":"vlad","text":"Hello."}',
            ):
                socket.send(message)
            while '"turn.done"' not in (frame := str(socket.recv(WAIT_S))):
                pass
            arrived.set()
            return frame

    async with serve(hooks(turn_finished=blocking)) as palaver:
        assert "Good evening." in await asyncio.to_thread(play, palaver.url)
        assert await asyncio.wait_for(outcome.get(), WAIT_S)


async def test_finished_is_called_however_a_turn_ends(serve: Serve) -> None:
    """Also of a turn that was cancelled, even while it waited for its place."""
    seen = Seen()
    async with serve(seen) as palaver:
        palaver.backend.replies = [["Once ", asyncio.Event()]]
        engine = await palaver.ready()
        start = {"type": "turn.start", "npc": "vlad", "player": "ada", "text": "Hello."}
        await engine.send({**start, "turn": "t1"})
        await engine.until("turn.delta")
        await engine.send({**start, "turn": "t2"})
        for turn in ("t2", "t1"):
            await engine.send({"type": "turn.cancel", "turn": turn})
            await engine.until("turn.done", turn=turn, status="cancelled")
            over = await seen.last()
            assert (over.id, over.result.status) == (turn, "cancelled")
        assert len(palaver.backend.calls) == 1


async def test_a_bug_in_the_middle_of_a_line(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the player has read ends as a sentence that broke off, and `turn.done` says so."""

    def broken(_self: ChainRunner, _attempt: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ChainRunner, "_whole", broken)
    async with serve() as palaver:
        palaver.backend.replies = ["Once upon a time and", "A whole sentence."]
        engine = await palaver.ready()
        for turn, text in (("t1", "Once upon a time and…"), ("t2", "A whole sentence.")):
            done = await engine.say("vlad", "Hello.", turn=turn)
            assert (done["text"], done["status"]) == (text, "truncated")
