"""Whatever backends do, in whatever order: the chain's promise, on random lives of a gateway.

Every example is a gateway with a chain of backends that each have a script for every time they are
asked, and some turns, each of which may be cancelled. Time is virtual. A failing example prints the
chain, the scripts and what became of each turn; `tox -e soak` tries 20,000 of them.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given, note
from hypothesis import strategies as st

from palaver.chain.backend import BackendSettings, Finish, GenerateRequest, Health, ModelInfo
from palaver.errors import (
    BackendError,
    BackendOverloaded,
    BackendResponseError,
    BackendTimeout,
    BackendUnavailable,
    StreamBroken,
)
from palaver.gateway import Gateway
from palaver.testing.clock import VirtualLoop
from palaver.testing.gateways import Sink, make_gateway
from palaver.testing.turns import make_persona
from palaver.turn.model import PRIORITIES, Priority, TurnResult

EPSILON_S = 1e-6
INSTANT_S = 0.5
"""What authored lines may take once all time is over."""
PATIENCE_S = 3_600.0
"""Virtual time in which everything must be over."""
STATIC = "static"
LAST_WORDS = "Farewell for now."
FILLER = "Hm, let me think."
REFUSAL = "As an AI language model, I cannot {} this. "
WORDS = {
    "anna": ("anna", "apple", "amber", "alder"),
    "bert": ("bert", "birch", "butter", "bell"),
    "cleo": ("cleo", "candle", "crow", "cedar"),
    STATIC: ("stone", "silver", "sparrow", "soot"),
}
"""What each backend says; nobody shares a word with another."""
PIECES = ("{} ", "{}. ", "{}", "{}.", " ", "\n", "{}! {} ", "<feel joy>", "{} {} {} {} ", REFUSAL)
FAST_MS = (0, 1, 20, 80, 200, 400)
SLOW_MS = (*FAST_MS, 700, 1_000, 2_500, 20_000)

End = Literal[
    "finish", "length", "no finish", "hang", "down", "full", "wrong", "timeout", "broken", "bug"
]
ENDS: tuple[End, ...] = (
    *("finish", "length", "no finish", "hang", "down", "full", "wrong", "timeout", "broken"),
    "bug",
)


# --- what backends do ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """What a backend does when it is asked.

    Attributes:
        steps: Waits in milliseconds, each with the piece that comes after it.
        end: What comes last.
        end_ms: Wait before that, in milliseconds.
        lets_go_ms: How long it takes to let go of a stream that nobody wants.
        deaf: Whether it says one thing more when it is told to stop.
    """

    steps: tuple[tuple[int, str], ...] = ()
    end: End = "finish"
    end_ms: int = 0
    lets_go_ms: int = 0
    deaf: bool = False

    def __repr__(self) -> str:
        told = [f"+{wait} {piece!r}" for wait, piece in self.steps]
        told.append(f"+{self.end_ms} {self.end}")
        if self.lets_go_ms or self.deaf:
            told.append(f"(lets go after {self.lets_go_ms}{', deaf' * self.deaf})")
        return f"<{', '.join(told)}>"


ORDER = itertools.count()


@dataclass
class Call:
    """One time that a server was asked for a reply; times are `loop.time()`."""

    backend: str
    turn: str
    begun: float
    order: int
    """Who was asked before whom, where both began at the same moment."""
    told_to_stop: float | None = None
    ended: float | None = None

    @property
    def until(self) -> float:
        """When it was at work last, as far as the chain could know."""
        ends = [at for at in (self.told_to_stop, self.ended) if at is not None]
        return min(ends, default=float("inf"))


class Server:
    """A server of a backend; plays scripts, one for each time it is asked, over and over."""

    def __init__(self, name: str, backend: str, scripts: tuple[Script, ...]) -> None:
        self.name, self._backend, self._scripts = name, backend, scripts
        self.calls: list[Call] = []

    def warm(self, adapter: str | None, /) -> bool:
        return True

    async def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        loop, backend = asyncio.get_running_loop(), self._backend
        if request.purpose == "filler":
            yield FILLER
            return
        script = self._scripts[len(self.calls) % len(self._scripts)]
        call = Call(backend, request.turn.id, loop.time(), next(ORDER))
        self.calls.append(call)
        words = iter(range(1_000))
        try:
            for wait_ms, piece in script.steps:
                await asyncio.sleep(wait_ms / 1000)
                yield fill(piece, backend, words)
            await asyncio.sleep(script.end_ms / 1000)
            if script.end in ("finish", "length"):
                yield Finish("stop" if script.end == "finish" else "length")
            elif script.end == "hang":
                await asyncio.Event().wait()
            elif script.end != "no finish":
                raise error(script.end, backend)
        except (GeneratorExit, asyncio.CancelledError) as stopped:
            call.told_to_stop = loop.time()
            if script.lets_go_ms:
                await asyncio.sleep(script.lets_go_ms / 1000)
            if script.deaf and isinstance(stopped, asyncio.CancelledError):
                yield fill("{}. ", backend, words)
            raise
        finally:
            call.ended = loop.time()


class Model:
    """A backend of one or more servers."""

    def __init__(
        self, name: str, servers: tuple[tuple[Script, ...], ...], settings: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.settings = BackendSettings(type="test", **settings)
        self.replicas = [
            Server(f"{name} {number}" if len(servers) > 1 else name, name, scripts)
            for number, scripts in enumerate(servers)
        ]
        # Not asked where there are replicas, and the only server's where there is one.
        self.generate = self.replicas[0].generate

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def health(self) -> Health:
        return Health(ok=True, detail="plays")

    async def models(self) -> list[ModelInfo]:
        return []


def fill(piece: str, name: str, words: Iterator[int]) -> str:
    """Return a piece with the next words of a backend in it."""
    own = WORDS[name]
    while "{}" in piece:
        piece = piece.replace("{}", own[next(words) % len(own)], 1)
    return piece


def error(end: End, name: str) -> Exception:
    """Return the error for one of the ends."""
    errors: dict[str, Exception] = {
        "down": BackendUnavailable(name, "is down"),
        "full": BackendOverloaded(name, "is full", status_code=429, retry_after_s=0.3),
        "wrong": BackendResponseError(name, "GARBAGE"),
        "timeout": BackendTimeout(name, "connect", 1.0),
        "broken": StreamBroken(name, "was cut"),
        "bug": ValueError("a bug, on purpose"),
    }
    return errors[end]


# --- one life -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """One turn.

    Attributes:
        at_ms: When it starts.
        cancel_ms: After how long it is cancelled, or None.
        priority: How urgent it is.
        first_text_ms: The client's own limit, or None.
    """

    at_ms: int = 0
    cancel_ms: int | None = None
    first_text_ms: int | None = None
    priority: Priority = "player"

    def __repr__(self) -> str:
        more = f", cancelled after {self.cancel_ms}" if self.cancel_ms is not None else ""
        mine = f", wants words in {self.first_text_ms}" if self.first_text_ms is not None else ""
        return f"<{self.priority} at {self.at_ms}{mine}{more}>"


@dataclass(frozen=True)
class Life:
    """One example.

    Attributes:
        scripts: Scripts of each server of each backend.
        settings: Settings of the backends.
        tier: The tier.
        hedge_share: Share of turns that may be hedged.
        alike: Whether all turns ask the same, so that they may share what is under way.
        asks: The turns.
    """

    scripts: Mapping[str, tuple[tuple[Script, ...], ...]]
    settings: Mapping[str, Mapping[str, Any]]
    tier: Mapping[str, Any]
    hedge_share: float
    alike: bool
    asks: tuple[Ask, ...]

    def __repr__(self) -> str:
        lines = [f"tier {dict(self.tier)}, hedge share {self.hedge_share}, alike: {self.alike}"]
        for name, servers in self.scripts.items():
            lines.append(f"  {name} {dict(self.settings[name])}:")
            lines += [f"    {list(scripts)}" for scripts in servers]
        return "\n".join([*lines, *(f"  {ask}" for ask in self.asks)])


@dataclass
class Told:
    """What became of one turn."""

    ask: Ask
    begun: float
    sink: Sink = field(default_factory=Sink)
    result: TurnResult | None = None

    def __str__(self) -> str:
        done = self.sink.of("turn.done")
        said = [f"{frame.at - self.begun:.3f} {frame.fields['text']!r}" for frame in self.deltas]
        return f"{self.ask}: {said}\n    {done[0].fields if done else 'no turn.done'}"

    @property
    def cancelled(self) -> bool:
        return bool(self.sink.frames[-1].fields["status"] == "cancelled")

    @property
    def deltas(self) -> list[Any]:
        return self.sink.of("turn.delta")


SCRIPT = st.builds(
    Script,
    steps=st.lists(st.tuples(st.sampled_from(SLOW_MS), st.sampled_from(PIECES)), max_size=6).map(
        tuple
    ),
    end=st.sampled_from(ENDS),
    end_ms=st.sampled_from(SLOW_MS),
    lets_go_ms=st.sampled_from((0, 0, 0, 10, 300)),
    deaf=st.booleans(),
)
AUTHORED = st.builds(
    Script,
    steps=st.sampled_from([((0, "{} {}. "),), ((0, "{}"),), ((0, "{}. {}. "), (0, "{}.")), ()]),
    end=st.sampled_from(("finish", "finish", "full", "bug")),
)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "concurrency": st.sampled_from((1, 2)),
        "queue": st.sampled_from((0, 1, 50)),
        "breaker_failures": st.sampled_from((1, 2, 100)),
        "breaker_ms": st.sampled_from((50, 500)),
    },
)
ASK = st.builds(
    Ask,
    at_ms=st.sampled_from((0, 0, 5, 100, 500, 3_000)),
    cancel_ms=st.none() | st.sampled_from((0, 1, 30, 100, 450, 1_500, 4_000)),
    first_text_ms=st.none() | st.sampled_from((50, 200, 600)),
    priority=st.sampled_from(PRIORITIES),
)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Draw an example; every choice shrinks to what is plainest."""
    names = list(WORDS)[: draw(st.integers(0, 3))]
    if not names or draw(st.booleans()):
        names.append(STATIC)

    def played(name: str) -> tuple[Script, ...]:
        kind = AUTHORED if name == STATIC else SCRIPT
        return tuple(draw(st.lists(kind, min_size=1, max_size=3)))

    scripts = {
        name: tuple(played(name) for _ in range(1 if name == STATIC else draw(st.integers(1, 2))))
        for name in names
    }
    settings = {name: {} if name == STATIC else draw(SETTINGS) for name in names}
    first = {name: draw(st.sampled_from((1_000, 350, 100, 20))) for name in names}
    tier: dict[str, Any] = {
        "chain": names,
        "first_text_ms": draw(st.sampled_from((1_500, 5_000, 600, 200))),
        "first_token_ms": first,
        "stall_ms": draw(st.sampled_from((2_000, 500, 50))),
        "total_ms": draw(st.sampled_from((15_000, 3_000, 600))),
        "filler_ms": draw(st.sampled_from((None, None, 400, 50))),
        "retries": draw(st.sampled_from((0, 0, 1, 2))),
        "checks": draw(st.sampled_from((["empty", "refusal"], [], ["empty", "refusal", "repeat"]))),
    }
    asks = tuple(draw(st.lists(ASK, min_size=1, max_size=5)))
    share = draw(st.sampled_from((0.1, 0.0, 0.5, 1.0)))
    return Life(scripts, settings, tier, share, draw(st.booleans()), asks)


async def take_turn(gateway: Gateway, number: int, told: Told, *, alike: bool) -> None:
    """Run one turn, cancelled if it is to be."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(told.ask.at_ms / 1000)
    told.begun = loop.time()
    fields: dict[str, Any] = {}
    if told.ask.first_text_ms is not None:
        fields["first_text_ms"] = told.ask.first_text_ms
    turn = loop.create_task(
        gateway.ask(
            "Tell me more." if alike else f"Tell me of the {number}.",
            turn=f"t{number}",
            npc=f"npc{number}",
            persona="tester",
            player=f"player{number}",
            sink=told.sink,
            priority=told.ask.priority,
            on_turn=lambda turn: setattr(told, "result", turn.result),
            **fields,
        )
    )
    if told.ask.cancel_ms is not None:
        loop.call_later(told.ask.cancel_ms / 1000, turn.cancel)
    await asyncio.wait({turn})
    if not turn.cancelled():
        turn.result()


async def live(life: Life, folder: Path) -> tuple[list[Told], list[Call]]:
    """Live one example, and see that nothing is left of it."""
    before = asyncio.all_tasks()
    models = [Model(name, life.scripts[name], life.settings[name]) for name in life.scripts]
    persona = make_persona(last_words=LAST_WORDS)
    told = [Told(ask, 0.0) for ask in life.asks]
    async with make_gateway(
        models,
        chain=life.tier["chain"],
        data_dir=folder,
        persona=persona,
        tier=life.tier,
        limits={"hedge_share": life.hedge_share},
    ) as gateway:
        serving = asyncio.all_tasks()
        async with asyncio.TaskGroup() as group:
            for number, one in enumerate(told):
                group.create_task(take_turn(gateway, number, one, alike=life.alike))
        # A backend that takes its time to let go may do so.
        await asyncio.sleep(10)
        left = [task.get_name() for task in asyncio.all_tasks() - serving]
        assert left == [], "tasks are left of turns that are over"
    assert asyncio.all_tasks() == before, "tasks are left of the gateway"
    return told, [call for model in models for one in model.replicas for call in one.calls]


# --- what must hold -----------------------------------------------------------------------------

VOICES = {word: name for name, words in WORDS.items() for word in words}
VOICES |= dict.fromkeys(("farewell", "for", "now"), "last words")
VOICES |= dict.fromkeys(("hm", "let", "me", "think"), "filler")
KNOWN = re.compile("|".join(sorted(VOICES, key=len, reverse=True)))
"""Words may come without a space between them."""
REFUSED = re.compile(r"As an AI language model, I cannot (\w+) this")


def voices(text: str) -> list[tuple[str, str]]:
    """Return every word with the voice that it belongs to; one that belongs to nobody fails."""
    text = REFUSED.sub(r"\1", text).lower()
    foreign = re.search(r"\w+", KNOWN.sub("", text))
    assert foreign is None, f"nobody may say {foreign[0]!r}"
    return [(word, VOICES[word]) for word in KNOWN.findall(text)]


def check_turn(told: Told, life: Life) -> None:
    """Check all that a player can see of one turn."""
    sink, ask = told.sink, told.ask
    assert sink.dones == len(sink.of("turn.done")) == 1, "exactly one turn.done"
    assert sink.frames[-1].type == "turn.done", "nothing comes after it"
    done = sink.frames[-1].fields
    assert done["text"] == sink.text, "text is the deltas joined"
    sentences = [frame.fields for frame in sink.of("turn.sentence")]
    assert "".join(done["text"].split()) == "".join(
        "".join(one["text"] for one in sentences).split()
    ), "the sentences are the text"
    cancelled_s = ask.cancel_ms / 1000 if ask.cancel_ms is not None else float("inf")
    if told.cancelled:
        assert sink.frames[-1].at - told.begun >= cancelled_s - EPSILON_S, "cancelled by nobody"
    else:
        # A cancel that comes when the turn is over changes nothing.
        assert sink.frames[-1].at - told.begun <= cancelled_s + EPSILON_S, "not cancelled"
        assert done["text"].strip(), "there are words"
    # In time.
    limit_s = min(life.tier["first_text_ms"], ask.first_text_ms or 600_000) / 1000
    if told.deltas:
        assert told.deltas[0].at - told.begun <= limit_s + EPSILON_S, "the first text is late"
    else:
        assert told.cancelled, "there are words"
        assert cancelled_s <= limit_s + EPSILON_S, "there are no words in time"
    longest_s = max(life.tier.get("total_ms", 15_000) / 1000, limit_s)
    assert sink.frames[-1].at - told.begun <= longest_s + INSTANT_S, "it takes too long"
    # Never two voices in one sentence.
    for sentence in sentences:
        assert len({voice for _, voice in voices(sentence["text"])}) <= 1, "two voices in one"
    spoken = list(dict.fromkeys(voice for _, voice in voices(done["text"])))
    models = [voice for voice in spoken if voice not in (STATIC, "last words", "filler")]
    assert len(models) <= 2, "rescued more than once"
    if "refusal" in life.tier["checks"]:
        refused = REFUSED.search(done["text"])
        assert refused is None or refused.start() > 0, "a refusal was the first that was said"


def check_trail(told: Told, life: Life, calls: list[Call]) -> None:
    """Check that the trail tells all that happened, once and in order."""
    done = told.sink.frames[-1].fields
    trail = done["trail"]
    times = [entry["at_ms"] for entry in trail]
    assert times == sorted(times), "the trail is in order"
    served = [
        entry for entry in trail if entry["outcome"] == "served" and entry.get("reason") != "filler"
    ]
    assert len(served) == 1 or (told.cancelled and len(served) <= 1), "who served is told once"
    if served and not told.cancelled:
        assert served[0] is trail[-1] or trail[-1].get("reason") == "filler"
        assert served[0]["backend"] == done["served_by"]["backend"]
    died = sum(entry["outcome"] == "died" for entry in trail)
    assert (done["status"] == "rescued") == (died > 0) or told.cancelled
    assert told.result is not None
    for name in life.scripts:
        asked = [entry for entry in told.result.trail if entry.backend == name]
        begun = [entry for entry in asked if entry.begun_ms is not None]
        real = sum(call.backend == name for call in calls)
        # Who was given up at the moment that it was asked, or waited in the queue, never began.
        maybe = sum(entry.outcome in ("lost", "skipped", "late", "refused") for entry in begun)
        told_of = f"{name} was asked {real} times, and the trail tells of {len(begun)}"
        # Where turns share a request, any of them may be who began it, and each tells of it.
        assert real <= len(begun), told_of
        assert life.alike or real >= len(begun) - maybe, told_of


def hedges(calls: list[Call]) -> int:
    """Return how often a backend began while another was still at work on the same turn."""
    calls = sorted((call for call in calls if call.backend != STATIC), key=lambda call: call.order)
    return sum(
        any(call.begun < earlier.until - EPSILON_S for earlier in calls[:index])
        for index, call in enumerate(calls)
    )


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What backends do wrong on purpose is logged by the thousand; nobody reads it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


EMPTY = Script()
IN_VAIN = Life(
    {
        "anna": ((EMPTY,),),
        "bert": ((Script(end_ms=1),), (Script(end_ms=200),)),
        STATIC: ((EMPTY,),),
    },
    {"anna": {}, "bert": {"concurrency": 1}, STATIC: {}},
    {
        "chain": ["anna", "bert", STATIC],
        "first_text_ms": 1_500,
        "first_token_ms": {"anna": 1_000, "bert": 100},
        "checks": ["empty"],
    },
    hedge_share=0.1,
    alike=False,
    asks=(Ask(), Ask(at_ms=100)),
)
"""A turn that waits for its place at one server must not find its own request when it turns to
the other."""


@example(life=IN_VAIN)
@given(life=lives())
def test_the_promise_holds_whatever_backends_do(
    life: Life, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One end, words in time, one voice a sentence, a true trail, and nothing left behind."""
    wrong: list[Any] = []
    with VirtualLoop() as loop:
        loop.set_exception_handler(lambda _, context: wrong.append(context))
        folder = tmp_path_factory.getbasetemp()
        told, calls = loop.run_until_complete(asyncio.wait_for(live(life, folder), PATIENCE_S))
    note("\n".join(map(str, (life, *told, *calls))))
    assert wrong == [], "an error that nobody took"
    for one in told:
        check_turn(one, life)
    assert [call for call in calls if call.ended is None] == [], "a stream was never closed"
    extra = 0
    for number, one in enumerate(told):
        own = [call for call in calls if call.turn == f"t{number}"]
        check_trail(one, life, own)
        extra += hedges(own)
    credit = 1 if life.hedge_share else 0
    assert extra <= credit + life.hedge_share * len(told) + EPSILON_S, "more hedges than budget"


def test_the_errors_are_the_chains_own() -> None:
    """All ends but a bug are errors that a backend may raise."""
    raised = [error(end, "x") for end in ENDS[4:]]
    assert [isinstance(one, BackendError) for one in raised] == [True] * 5 + [False]
