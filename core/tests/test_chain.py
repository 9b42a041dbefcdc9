"""Every turn gets words in character, in time, and a trail that says who spoke and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import pytest

from palaver.chain.backend import BackendType, Finish, GenerateRequest
from palaver.chain.checks import GO, OK, WAIT, Checker, Objection, Verdict
from palaver.chain.hedge import HedgeBudget
from palaver.chain.opening_checks import opening_checker
from palaver.chain.runner import ChainRunner
from palaver.chain.servers import Entry
from palaver.chain.shared import Chain
from palaver.config.models import Tier
from palaver.errors import BackendOverloaded, BackendUnavailable, StreamBroken
from palaver.hookcalls import HookCall
from palaver.prompt.sections import Place, Prompt, Section
from palaver.testing import UNIT_S
from palaver.testing.scripted import Pause, ScriptedBackend, ScriptedSettings
from palaver.testing.turns import make_persona, make_turn
from palaver.turn.deliver import Reply
from palaver.turn.events import Event, Stop, Text
from palaver.turn.filters import FilterChain
from palaver.turn.model import Turn
from palaver.turn.tags import TagFilter

UNIT_MS = int(UNIT_S * 1000)
FOREVER = 3_600_000 / UNIT_MS
PROMPT = Prompt([Section("identity", "system", "You are a test.", 100, "test", Place.STABLE)])


class Sink:
    """Keeps the deltas of a turn."""

    capabilities: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.frames: list[str] = []

    def emit(self, head: str, tail: str) -> None:
        self.frames.append(head + "0" + tail)


def tier(chain: Sequence[str], **limits: Any) -> Tier:
    """Return a tier whose limits are generous unless a test says otherwise."""
    return Tier.model_validate({"chain": list(chain), "first_token_ms": 60_000, **LONG, **limits})


LONG = {"first_text_ms": 120_000, "stall_ms": 60_000, "total_ms": 300_000}


async def speak(
    *backends: ScriptedBackend,
    instant: Sequence[str] = ("static",),
    filters: Sequence[Any] = (),
    turn: Turn | None = None,
    hedges: HedgeBudget | None = None,
    checks: Sequence[Callable[..., Checker]] = (),
    **limits: Any,
) -> Turn:
    """Run a chain of these backends and return its turn."""
    names = [backend.name for backend in backends]
    turn = turn or make_turn(persona=make_persona(last_words="Farewell."))
    turn.tier = tier(names or ["none"], **limits)
    hedges = hedges or HedgeBudget(0.0)
    now = turn.begun_at = asyncio.get_running_loop().time()
    turn.accepted_at = time.perf_counter()
    turn.first_text_at = now + turn.tier.first_text_ms / 1000
    turn.ends_at = now + turn.tier.total_ms / 1000
    entries = {
        backend.name: Entry(
            backend,
            BackendType(
                "scripted", ScriptedSettings, lambda *_: backends[0], backend.name in instant
            ),
        )
        for backend in backends
    }
    reply = Reply(turn, Sink(), asyncio.get_running_loop().time)

    def make(out: Callable[[Event], None], say: Callable[[str], None]) -> FilterChain:
        return FilterChain(turn, [("test", one) for one in filters], out, 1.0, say)

    turn.prompt = PROMPT
    before = asyncio.all_tasks()
    calls = [HookCall("palaver_check", "test", check, ("turn",)) for check in checks]
    runner = ChainRunner(Chain(entries, hedges, checks=calls), turn, reply, make)
    try:
        await runner.run(names)
    finally:
        reply.finish()
        turn.result.text = reply.text
        if reply.first_at is not None:
            turn.result.ttft_ms = (reply.first_at - now) * 1000
        turn.result.total_ms = (asyncio.get_running_loop().time() - now) * 1000
        await runner.let_go()
        assert asyncio.all_tasks() == before, "the chain left a task behind"
    return turn


def trail(turn: Turn) -> list[tuple[str, str]]:
    """Return the trail without times and reasons."""
    return [(attempt.backend, attempt.outcome) for attempt in turn.result.trail]


async def test_the_first_backend_speaks() -> None:
    """A backend that works is the only one that is asked."""
    local = ScriptedBackend(
        "local",
        [
            "Good ",
            "evening.",
            Finish(model="m", adapter="a@1", prompt_tokens=9, completion_tokens=2),
        ],
    )
    static = ScriptedBackend("static", "Hm.")
    turn = await speak(local, static)
    assert turn.result.text == "Good evening."
    assert trail(turn) == [("local", "served")]
    served = turn.result.served_by
    assert (served.backend, served.model, served.adapter) == ("local", "m", "a@1")
    assert (turn.result.usage.prompt_tokens, turn.result.usage.completion_tokens) == (9, 2)
    assert static.calls == []


async def test_what_a_server_says_of_itself_spoils_no_sum_and_no_message() -> None:
    """Counts below 0 are taken for none at all, and a very long name of a model is cut."""
    finish = Finish(model="m" * 900_000, prompt_tokens=-1_000_000, completion_tokens=-1)
    turn = await speak(ScriptedBackend("local", ["Good evening.", finish]))
    usage = turn.result.usage
    assert usage.prompt_tokens >= 0
    assert usage.completion_tokens > 0
    assert len(turn.result.served_by.model or "") == 256
    assert Finish(prompt_tokens=9, cached_tokens=-1).cached_tokens is None


async def test_words_that_a_server_counts_as_none_are_estimated() -> None:
    """A server that says 0 tokens of a reply with words is not free of charge."""
    finish = Finish(prompt_tokens=0, completion_tokens=0)
    turn = await speak(ScriptedBackend("local", ["Good evening.", finish]))
    assert turn.result.usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ([BackendUnavailable("local", "connection refused")], "failed"),
        ([BackendOverloaded("local", "queue full", status_code=503)], "refused"),
        ([StreamBroken("local", "no end")], "failed"),
        ([ValueError("a bug")], "failed"),
        ([], "failed"),
        ([Finish()], "failed"),
        (["   ", Finish()], "failed"),
    ],
    ids=["unavailable", "refused", "broken", "bug", "nothing", "empty", "blank"],
)
async def test_a_failure_hands_over(script: list[Any], outcome: str) -> None:
    """Whatever goes wrong before the first text, the next backend speaks at once."""
    turn = await speak(ScriptedBackend("local", script), ScriptedBackend("fast", "I am here."))
    assert turn.result.text == "I am here."
    assert trail(turn) == [("local", outcome), ("fast", "served")]
    assert turn.result.status == "completed"


async def test_a_late_backend_is_replaced_and_closed() -> None:
    """One that misses its first token is dropped, down to its stream."""
    local = ScriptedBackend("local", [Pause(FOREVER), "Too late."])
    turn = await speak(
        local,
        ScriptedBackend("fast", "In time."),
        first_token_ms={"local": UNIT_MS, "fast": 60_000},
    )
    assert turn.result.text == "In time."
    assert trail(turn) == [("local", "late"), ("fast", "served")]
    assert local.calls[0].closed_early


async def test_static_speaks_before_the_first_text_is_due() -> None:
    """However slow the others are, the first text comes in time."""
    hang = [Pause(FOREVER)]
    turn = await speak(
        ScriptedBackend("local", hang),
        ScriptedBackend("fast", hang),
        ScriptedBackend("premium", hang),
        ScriptedBackend("static", "Hm."),
        first_text_ms=30 + 40 * UNIT_MS,
        first_token_ms=30 * UNIT_MS,
    )
    assert turn.result.text == "Hm."
    assert turn.result.ttft_ms is not None
    assert trail(turn)[0] == ("local", "late")
    assert trail(turn)[-1] == ("static", "served")
    assert ("premium", "skipped") in trail(turn)


async def test_last_words_when_everything_fails() -> None:
    """Even without static the character says something of its own."""
    turn = await speak(ScriptedBackend("local", [BackendUnavailable("local", "down")]))
    assert turn.result.text == "Farewell."
    assert trail(turn) == [("local", "failed"), ("last_words", "served")]
    assert turn.result.served_by.backend == "last_words"


async def test_last_words_when_nothing_is_configured() -> None:
    """A chain of names nobody configured still answers."""
    turn = await speak()
    assert turn.result.text == "Farewell."


@pytest.mark.parametrize(
    "end",
    [[StreamBroken("local", "cut")], [Pause(FOREVER)]],
    ids=["dies", "stalls"],
)
async def test_a_line_that_breaks_off_is_rescued(end: list[Any]) -> None:
    """What was shown stays, the open sentence is closed, and the next backend goes on."""
    local = ScriptedBackend("local", ["Come closer and I", *end])
    static = ScriptedBackend("static", "Never mind.")
    turn = await speak(local, static, stall_ms=3 * UNIT_MS)
    assert turn.result.text == "Come closer and I… Never mind."
    assert trail(turn) == [("local", "died"), ("static", "served")]
    assert turn.result.status == "rescued"
    assert static.requests[0].shown == "Come closer and I…"


async def test_a_reply_that_never_ends_is_cut() -> None:
    """The whole reply has a limit too."""
    drip = ["word ", *([Pause(1), "word "] * 2_000)]
    turn = await speak(
        ScriptedBackend("local", drip), ScriptedBackend("static", "Enough."), total_ms=40 * UNIT_MS
    )
    assert turn.result.text.endswith("… Enough.")
    assert trail(turn) == [("local", "died"), ("static", "served")]


async def test_a_reply_cut_by_length_is_truncated() -> None:
    """The open sentence is closed and the status says so."""
    turn = await speak(ScriptedBackend("local", ["Once upon a", Finish(reason="length")]))
    assert turn.result.text == "Once upon a…"
    assert turn.result.status == "truncated"


async def test_a_filter_that_stops_ends_the_stream() -> None:
    """Nothing more is generated once a filter has ended the line."""

    class StopAtSecret:
        def feed(self, event: Event) -> tuple[Event, ...]:
            if isinstance(event, Text) and "secret" in event.text:
                return (Stop("a secret"),)
            return (event,)

        def flush(self) -> tuple[Event, ...]:
            return ()

    local = ScriptedBackend("local", ["I know. ", Pause(1), "The secret is", Pause(FOREVER)])
    turn = await speak(local, filters=[StopAtSecret()])
    assert turn.result.text == "I know."
    assert trail(turn) == [("local", "served")]
    assert local.calls[0].closed_early


async def test_cancelling_reaches_the_backend() -> None:
    """A cancelled turn closes the stream it was reading."""
    begun = asyncio.Event()

    class Tell:
        def feed(self, event: Event) -> tuple[Event, ...]:
            begun.set()
            return (event,)

        def flush(self) -> tuple[Event, ...]:
            return ()

    local = ScriptedBackend("local", ["Once ", asyncio.Event()])
    turn = make_turn()
    task = asyncio.create_task(speak(local, turn=turn, filters=[Tell()]))
    call = await local.called()
    await asyncio.wait_for(begun.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(call.ended.wait(), 20)
    assert call.closed_early
    assert trail(turn) == [("local", "served")]
    assert turn.result.trail[0].reason == "the turn was cancelled"


async def test_the_prompt_is_trimmed_to_the_backend() -> None:
    """A backend with a small context gets a shorter prompt, and the trace says what went."""
    local = ScriptedBackend(
        "local", "Yes.", settings=ScriptedSettings(type="scripted", context_tokens=160)
    )
    long = Section("examples", "system", "x" * 1_000, 40, "test", Place.STABLE)
    PROMPT.sections.append(long)
    try:
        turn = await speak(local)
    finally:
        PROMPT.sections.remove(long)
    assert [message.content for message in local.requests[0].messages] == ["You are a test."]
    assert turn.trace == ["the prompt for local left out: examples"]


async def test_sampling_is_the_personas_within_the_tier() -> None:
    """The persona's sampling counts, its length only within the tier's limit."""
    persona = make_persona(sampling={"temperature": 0.3, "max_tokens": 500, "stop": ["\n"]})
    local = ScriptedBackend("local", "Yes.")
    await speak(local, turn=make_turn(persona=persona, seed=7, priority="ambient"), max_tokens=50)
    request = local.requests[0]
    assert request.sampling.temperature == 0.3
    assert request.sampling.max_tokens == 50
    assert request.sampling.stop == ("\n",)
    assert (request.seed, request.priority) == (7, 2)


async def test_an_authored_line_that_breaks_off_is_not_asked_for_again() -> None:
    """Whoever ends a line breaks off as well: the persona's last words end it, once."""
    bug = ValueError("a bug, on purpose")
    static = ScriptedBackend("static", ["Never ", bug])
    turn = await speak(
        ScriptedBackend("local", ["Come ", StreamBroken("local", "cut")]),
        ScriptedBackend("fast", ["Wait ", StreamBroken("fast", "cut")]),
        static,
    )
    assert turn.result.text == "Come… Wait… Never… Farewell."
    assert len(static.calls) == 1


@pytest.mark.parametrize("static", [["Never mind."], []], ids=["authored", "last words"])
async def test_a_rescue_that_hangs_is_not_waited_for(static: list[str]) -> None:
    """Nobody waits in the middle of a line for longer than a first token may take."""
    fast = ScriptedBackend("fast", [Pause(FOREVER)])
    turn = await speak(
        ScriptedBackend("local", ["Come ", StreamBroken("local", "cut")]),
        fast,
        *(ScriptedBackend("static", text) for text in static),
        first_token_ms={"local": 60_000, "fast": 3 * UNIT_MS},
        hedges=HedgeBudget(1.0),
    )
    assert turn.result.text == f"Come… {static[0] if static else 'Farewell.'}"
    assert trail(turn)[:2] == [("local", "died"), ("fast", "late")]
    assert fast.calls[0].closed_early


async def test_a_prompt_that_begins_with_few_words_does_not_leak() -> None:
    """Though a character may say its first line, nobody may go on as the prompt does."""
    turn = make_turn(persona=make_persona(last_words="Farewell."))
    turn.prompt = PROMPT
    secret = Section("more", "system", "You answer in one short sentence.", 90, "t", Place.STABLE)
    PROMPT.sections.append(secret)
    try:
        check = opening_checker(turn)
        assert check is not None
        assert check("You are a test", False) is WAIT
        assert isinstance(
            check("You are a test. You answer in one short sentence.", True), Objection
        )
        check = opening_checker(turn)
        assert check is not None
        assert check("You are a test, I presume?", False) is not WAIT
    finally:
        PROMPT.sections.remove(secret)


async def test_an_objection_in_the_middle_leaves_no_open_sentence() -> None:
    """The line ends at its sentence, though the beginning of the next came with it."""

    def check(text: str, whole: bool) -> Verdict:
        return Objection("a secret") if "secret" in text else GO

    local = ScriptedBackend("local", ["Listen. ", "It is a secret. And", " there", Finish()])
    turn = await speak(local, checks=[lambda turn: check])
    assert turn.result.text == "Listen. It is a secret."
    assert turn.result.status == "truncated"


async def test_what_is_held_back_of_a_broken_reply_is_never_shown() -> None:
    """A backend that fails while its opening is held back hands over, and the trail says why."""
    turn = make_turn(persona=make_persona(last_words="Farewell."))
    await speak(
        ScriptedBackend("local", ["As a", StreamBroken("local", "cut")]),
        ScriptedBackend("fast", [BackendUnavailable("fast", "is down")]),
        ScriptedBackend("static", "Hm."),
        turn=turn,
        checks=[lambda turn: lambda text, whole: OK if whole else WAIT],
    )
    assert turn.result.text == "Hm."
    assert [attempt.reason for attempt in turn.result.trail] == ["cut", "is down", None]
    assert trail(turn) == [("local", "failed"), ("fast", "failed"), ("static", "served")]


@pytest.mark.parametrize("first", ["\n", "<feel joy>", "   "], ids=["line break", "tag", "space"])
async def test_a_token_is_not_yet_a_word(first: str) -> None:
    """A backend that begins with nothing to show, and then hangs, is late all the same."""
    turn = make_turn()
    local = ScriptedBackend("local", [first, Pause(FOREVER)])
    await speak(
        local,
        ScriptedBackend("static", "Hm."),
        turn=turn,
        filters=[TagFilter(turn, {})],
        first_text_ms=30 + 40 * UNIT_MS,
    )
    assert turn.result.text == "Hm."
    assert trail(turn) == [("local", "late"), ("static", "served")]
    assert local.calls[0].closed_early


class Stubborn(ScriptedBackend):
    """A backend that takes its time to let go of a stream, and goes on speaking meanwhile."""

    def __init__(self, name: str, *script: Any) -> None:
        super().__init__(name, list(script))
        self.may_go = asyncio.Event()
        self.left = asyncio.Event()

    async def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        try:
            async for piece in super().generate(request):
                yield piece
        finally:
            await self.may_go.wait()
            self.left.set()


@pytest.mark.parametrize("script", [[], ["Once upon "]], ids=["late", "stalls"])
async def test_nobody_waits_for_a_backend_that_does_not_let_go(script: list[str]) -> None:
    """The next one speaks at once; the loser is waited for when the turn is over."""
    local = Stubborn("local", *script, Pause(FOREVER))
    seen: list[bool] = []

    def reply(request: GenerateRequest) -> str:
        seen.append(local.left.is_set())
        local.may_go.set()
        return "Hm."

    turn = await speak(
        local,
        ScriptedBackend("static", reply),
        first_text_ms=30 + 40 * UNIT_MS,
        stall_ms=3 * UNIT_MS,
    )
    assert turn.result.text.endswith("Hm.")
    assert seen == [False]
    assert local.left.is_set()


async def test_nothing_is_shown_after_the_end() -> None:
    """A backend that ignores its cancellation speaks to nobody."""

    class Deaf(ScriptedBackend):
        async def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
            yield "Once "
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                yield "and again "

    turn = await speak(
        Deaf("local"), ScriptedBackend("static", "Hm."), stall_ms=2 * UNIT_MS, total_ms=60_000
    )
    assert turn.result.text == "Once… Hm."


async def test_who_is_cancelled_while_waiting_has_not_spoken() -> None:
    """The trail of a cancelled rescue names who spoke, and who was only asked."""
    turn = make_turn()
    fast = ScriptedBackend("fast", [asyncio.Event()])
    task = asyncio.create_task(
        speak(ScriptedBackend("local", ["Once ", StreamBroken("local", "cut")]), fast, turn=turn)
    )
    await fast.called()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert trail(turn) == [("local", "died"), ("fast", "skipped")]
    assert turn.result.served_by.backend == "local"


async def test_the_reply_leaves_room_for_the_prompt() -> None:
    """A limit larger than the context window does not push everything else out of it."""
    local = ScriptedBackend(
        "local", "Yes.", settings=ScriptedSettings(type="scripted", context_tokens=256)
    )
    await speak(local, max_tokens=400)
    assert local.requests[0].sampling.max_tokens == 128
    assert [message.content for message in local.requests[0].messages] == ["You are a test."]
