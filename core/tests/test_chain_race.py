"""Who is asked when, who goes on beside whom, who is heard: to the millisecond, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import pytest

from palaver.chain.backend import Finish, GenerateRequest
from palaver.chain.checks import OK, Checker, Objection
from palaver.errors import BackendOverloaded, BackendUnavailable, StreamBroken
from palaver.testing.chains import Told, make_chain, tell, wait
from palaver.testing.clock import run
from palaver.testing.scripted import Reply, ScriptedBackend, Step
from palaver.testing.turns import make_persona, make_turn
from palaver.turn.model import Turn

HANGS: Reply = [wait(10_000_000), "Never."]
RESERVE_MS = 30
"""Kept free for authored lines before the first text is due."""


def scripts(**replies: Reply | Sequence[Reply]) -> list[ScriptedBackend]:
    """Return a backend for each script; `authored` may be one of them."""
    return [
        ScriptedBackend(name, *(reply if isinstance(reply, tuple) else (reply,)))
        for name, reply in replies.items()
    ]


def authored(request: GenerateRequest) -> str:
    """Answer as authored lines do: by what is asked for."""
    return {"filler": "Let me think.", "closing": "But enough.", "reply": "Hm."}[request.purpose]


def race(
    backends: Sequence[ScriptedBackend],
    *,
    hedges: float = 1.0,
    checks: Sequence[Callable[..., Checker]] = (),
    governor: Any = None,
    **tier: Any,
) -> Told:
    """Run one turn through these backends."""

    async def main() -> Told:
        chain = make_chain(*backends, hedges=hedges, checks=checks, governor=governor)
        return await tell(chain, **tier)

    return run(main())


def deltas(told: Told) -> list[tuple[int, str]]:
    """Return what was shown, and after how many milliseconds."""
    return [
        (round((one.at - told.begun) * 1000), one.fields["text"])
        for one in told.sink.of("turn.delta")
    ]


# --- late ones -----------------------------------------------------------------------------------


def test_a_late_one_may_still_win() -> None:
    """It goes on beside the next, and what it says first is heard; the next has lost."""
    local, fast = scripts(local=[wait(150), "Local."], fast=[wait(100), "Fast."])
    told = race([local, fast], first_token_ms=100)
    assert deltas(told) == [(150, "Local.")]
    assert told.trail == [("fast", "lost"), ("local", "served")]
    assert told.reasons == ["local was faster", None]
    assert fast.calls[0].closed_early
    assert told.turn.result.served_by.backend == "local"
    assert told.turn.raw == "Local."


def test_the_second_may_win() -> None:
    """Then the late one has lost, and is closed at once."""
    local, fast = scripts(
        local=[wait(1_000), "Local."], fast=[wait(100), "Fast. ", wait(50), "Yes."]
    )
    told = race([local, fast], first_token_ms=100)
    assert deltas(told) == [(200, "Fast."), (250, " Yes.")]
    assert told.trail == [("local", "lost"), ("fast", "served")]
    assert local.calls[0].closed_early


def test_three_may_run() -> None:
    """Each that is late lets the next one begin beside it."""
    backends = scripts(one=[wait(500), "One."], two=[wait(500), "Two."], three=[wait(20), "Three."])
    told = race(backends, first_token_ms=100)
    # The second hedge of a turn needs budget of its own.
    assert deltas(told) == [(220, "Three.")]
    assert told.trail[-1] == ("three", "served")
    assert sorted(told.trail[:2])[0][1] in ("late", "lost")


def test_without_budget_the_late_one_is_replaced() -> None:
    """It is dropped before the next one begins, and the trail says why."""
    local, fast = scripts(local=[wait(150), "Local."], fast=[wait(100), "Fast."])
    told = race([local, fast], hedges=0.0, first_token_ms=100)
    assert deltas(told) == [(200, "Fast.")]
    assert told.trail == [("local", "late"), ("fast", "served")]
    assert told.reasons[0] == "no first token within 100 ms, and no hedge was left"
    assert local.calls[0].closed_early


def test_without_another_one_the_late_one_goes_on() -> None:
    """It is dropped for somebody, not for nobody."""
    local, static = scripts(local=[wait(900), "Local."], static=authored)
    told = race([local, static], hedges=0.0, first_token_ms=100, first_text_ms=1_000)
    assert deltas(told) == [(900, "Local.")]
    assert told.trail == [("local", "served")]
    assert static.calls == []


def test_one_that_fails_beside_a_late_one_is_out() -> None:
    """The late one is still there, and is heard."""
    local, fast, premium = scripts(
        local=[wait(300), "Local."],
        fast=[wait(20), BackendUnavailable("fast", "down")],
        premium=[wait(1_000), "Premium."],
    )
    told = race([local, fast, premium], first_token_ms=100)
    assert deltas(told) == [(300, "Local.")]
    assert told.trail[0] == ("fast", "failed")
    assert told.trail[-1] == ("local", "served")


def test_a_failure_is_no_hedge() -> None:
    """Only attempts beside each other count against the budget."""

    async def main() -> None:
        backends = scripts(local=[BackendUnavailable("local", "down")], fast="Fast.")
        chain = make_chain(*backends, hedges=0.1)
        for _ in range(5):
            assert (await tell(chain)).first_ms == 0
        assert (chain.hedges.spent, chain.hedges.denied) == (0, 0)

    run(main())


@pytest.mark.parametrize(
    "error",
    [
        BackendUnavailable("local", "down"),
        BackendOverloaded("local", "full", status_code=503),
        StreamBroken("local", "cut"),
        ValueError("a bug"),
    ],
    ids=["down", "full", "cut", "bug"],
)
def test_one_that_fails_hands_over_at_once(error: Exception) -> None:
    """Not when its time is over."""
    told = race(scripts(local=[wait(30), error], fast="Fast."), first_token_ms=1_000)
    assert deltas(told) == [(30, "Fast.")]


def test_a_token_in_time_is_enough() -> None:
    """A first token at its very limit is not late, and the rest has the whole time."""
    told = race(
        scripts(local=[wait(99), "Local", wait(400), " it is."], fast="Fast."), first_token_ms=100
    )
    assert told.text == "Local it is."
    assert told.trail == [("local", "served")]


# --- just before the first text is due -----------------------------------------------------------


@pytest.mark.parametrize("first_text_ms", [100, 1_500, 5_000])
@pytest.mark.parametrize("hedges", [0.0, 1.0])
def test_authored_lines_speak_just_in_time(first_text_ms: int, hedges: float) -> None:
    """Whoever hangs: just before the first text is due, static speaks."""
    told = race(
        scripts(local=HANGS, fast=HANGS, premium=HANGS, static=authored),
        hedges=hedges,
        first_token_ms=400,
        first_text_ms=first_text_ms,
    )
    assert deltas(told) == [(first_text_ms - RESERVE_MS, "Hm.")]
    assert told.trail[-1] == ("static", "served")
    assert all(outcome in ("late", "skipped") for _, outcome in told.trail[:-1])
    assert {name for name, _ in told.trail} == {"local", "fast", "premium", "static"}


def test_nobody_is_asked_without_time() -> None:
    """With less than a few milliseconds left a backend is skipped, and the trail says so."""
    local, fast, static = scripts(local=HANGS, fast="Fast.", static=authored)
    told = race([local, fast, static], first_token_ms=167, first_text_ms=200)
    assert fast.calls == []
    assert told.trail == [("fast", "skipped"), ("local", "late"), ("static", "served")]
    assert told.reasons[0] == "no time left for it"
    assert deltas(told) == [(170, "Hm.")]


def test_without_static_the_last_words_come_in_time() -> None:
    """The promise holds though nobody wrote a line."""
    told = race(scripts(local=HANGS, fast=HANGS), first_token_ms=400, first_text_ms=1_000)
    assert deltas(told) == [(970, "Farewell.")]
    assert told.trail[-1] == ("last_words", "served")


def test_an_instant_backend_that_hangs_does_not() -> None:
    """Whoever answers from memory has half a second."""
    told = race(scripts(local=[BackendUnavailable("local", "down")], static=HANGS))
    assert deltas(told) == [(500, "Farewell.")]
    assert told.trail[1:] == [("static", "late"), ("last_words", "served")]


def test_authored_lines_one_after_another_long_after_the_end() -> None:
    """Each has its half second, and is waited for: nobody looks at the clock all the time."""
    one = ScriptedBackend("one", [wait(450), BackendUnavailable("one", "no lines")])
    static = ScriptedBackend("static", [wait(300), "Hm.", Finish()])
    hangs = ScriptedBackend("local", HANGS)

    async def main() -> Told:
        chain = make_chain(hangs, one, static, instant=("one", "static"))
        return await tell(chain, first_text_ms=600, total_ms=600)

    assert deltas(run(main())) == [(600 - RESERVE_MS + 450 + 300, "Hm.")]


def test_static_in_the_middle_of_a_chain_ends_it() -> None:
    """What comes after authored lines is asked only if they fail."""
    local, static, fast = scripts(
        local=[BackendUnavailable("local", "down")], static=authored, fast="Fast."
    )
    assert race([local, static, fast]).text == "Hm."
    assert fast.calls == []
    static.replies = [[BackendUnavailable("static", "no lines")]]
    assert race([local, static, fast]).text == "Fast."


# --- fillers -------------------------------------------------------------------------------------


def test_a_filler_is_a_sentence_of_its_own() -> None:
    """Then comes the answer, which may have been under way all the time."""
    local, static = scripts(local=[wait(700), "The door ", wait(10), "is open."], static=authored)
    told = race([local, static], filler_ms=300, first_text_ms=1_000, first_token_ms=900)
    assert deltas(told) == [(300, "Let me think."), (700, " The door"), (710, " is open.")]
    assert [one.fields["text"] for one in told.sink.of("turn.sentence")] == [
        "Let me think.",
        "The door is open.",
    ]
    assert told.trail == [("static", "served"), ("local", "served")]
    assert told.reasons[0] == "filler"
    assert told.turn.result.served_by.backend == "local"
    assert told.turn.result.status == "completed"
    assert told.turn.raw is None, "the reply alone is not what was said"


def test_a_quick_answer_needs_no_filler() -> None:
    """What is spoken by then is not filled."""
    local, static = scripts(local=[wait(200), "Yes. ", wait(500), "No."], static=authored)
    told = race([local, static], filler_ms=300, first_text_ms=1_000)
    assert told.text == "Yes. No."
    assert static.calls == []


def test_a_filler_buys_time() -> None:
    """Another `first_text_ms`, in which a slow backend may still answer."""
    slow = scripts(local=[wait(1_200), "Local."], static=authored)
    told = race(slow, filler_ms=300, first_text_ms=1_000, first_token_ms=1_000)
    assert deltas(told) == [(300, "Let me think."), (1_200, " Local.")]
    told = race(
        scripts(local=HANGS, static=authored),
        filler_ms=300,
        first_text_ms=1_000,
        first_token_ms=400,
    )
    assert deltas(told) == [(300, "Let me think."), (1_300 - RESERVE_MS, " Hm.")]


def test_after_a_filler_the_answer_is_an_answer() -> None:
    """Authored lines do not end a line that nobody began: the player asked something."""
    local, static = scripts(local=[wait(400), BackendUnavailable("local", "down")], static=authored)
    told = race([local, static], filler_ms=300)
    assert told.text == "Let me think. Hm."
    assert [one.request.purpose for one in static.calls] == ["filler", "reply"]


def test_a_filler_is_spoken_once() -> None:
    """However long it takes after that."""
    local, static = scripts(local=[wait(5_000), "Yes."], static=authored)
    told = race([local, static], filler_ms=300, first_text_ms=5_000)
    assert told.text == "Let me think. Yes."


@pytest.mark.parametrize(
    "bad",
    [[BackendUnavailable("static", "no lines")], [ValueError("a bug")], [Finish()], HANGS],
    ids=["none", "bug", "empty", "hangs"],
)
def test_where_there_is_no_filler_the_turn_goes_on(bad: Reply) -> None:
    """Nothing that is wrong with a filler keeps the answer from coming."""

    def static(request: GenerateRequest) -> Any:
        return bad if request.purpose == "filler" else "Hm."

    told = race(
        scripts(local=[wait(1_000), "Yes."], static=static), filler_ms=300, first_text_ms=5_000
    )
    assert deltas(told) == [(1_000, "Yes.")]
    assert told.trail == [("local", "served")]


def test_a_filler_ends_with_a_mark() -> None:
    """One that was written without gets an ellipsis: the answer is a sentence of its own."""

    def static(request: GenerateRequest) -> str:
        return "Hmm" if request.purpose == "filler" else "Yes."

    told = race(scripts(local=[wait(500), "Yes."], static=static), filler_ms=100)
    assert told.text == "Hmm… Yes."


def test_the_next_backend_knows_of_the_filler() -> None:
    """Who is asked after it knows what the player has read."""
    local, fast, static = scripts(local=HANGS, fast=[wait(10), "Yes."], static=authored)
    race([local, fast, static], filler_ms=50, first_token_ms=100)
    assert local.requests[0].shown == ""
    assert fast.requests[0].shown == "Let me think."


# --- rescue --------------------------------------------------------------------------------------


def test_a_line_is_rescued_once_by_a_model_and_then_closed() -> None:
    """The second death is ended by an authored closing line: no model is asked a third time."""
    local, fast, premium, static = scripts(
        local=["I was ", StreamBroken("local", "cut")],
        fast=["But then ", StreamBroken("fast", "cut")],
        premium="Premium.",
        static=authored,
    )
    told = race([local, fast, premium, static])
    assert told.text == "I was… But then… But enough."
    assert told.trail == [("local", "died"), ("fast", "died"), ("static", "served")]
    assert premium.calls == []
    assert told.turn.result.status == "rescued"
    assert static.requests[0].purpose == "closing"
    assert [one.request.shown for one in (*fast.calls, *static.calls)] == [
        "I was…",
        "I was… But then…",
    ]


def test_a_stall_is_a_death() -> None:
    """A pause longer than the tier allows ends the attempt, and the next goes on."""
    told = race(
        scripts(local=["I was ", wait(10_000), "late."], fast=[wait(50), "Never mind."]),
        stall_ms=400,
    )
    assert deltas(told) == [(0, "I was"), (400, "…"), (450, " Never mind.")]
    assert told.reasons[0] == "silent for 400 ms"


def test_a_rescue_has_a_first_tokens_time() -> None:
    """In the middle of a line nobody waits until the whole turn is over."""
    told = race(
        scripts(local=["I was ", StreamBroken("local", "cut")], fast=HANGS, static=authored),
        first_token_ms=300,
    )
    assert deltas(told)[-1] == (300, " But enough.")
    assert told.trail == [("local", "died"), ("fast", "late"), ("static", "served")]


def test_the_whole_turn_has_an_end() -> None:
    """A model that never stops is closed, and the line ended."""
    script: list[Step] = []
    for _ in range(500):
        script += ["word ", wait(10)]
    told = race(scripts(local=script, static=authored), total_ms=1_000)
    shown = deltas(told)
    assert shown[-2:] == [(1_000, "…"), (1_000, " But enough.")]
    assert told.turn.result.status == "rescued"


# --- objections ----------------------------------------------------------------------------------


def no(turn: Turn) -> Checker:
    """Object to what says no."""
    return lambda text, whole: Objection("a refusal") if text.startswith("No") else OK


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_after_an_objection_it_is_asked_again(retries: int) -> None:
    """As often as the tier wants, with another seed; then the next one is."""
    local, fast = scripts(local="No.", fast="Fast.")
    turn = make_turn(persona=make_persona(), seed=7)
    told = race([local, fast], checks=[no], retries=retries, turn=turn)
    assert told.text == "Fast."
    assert told.trail == [*[("local", "objected")] * (retries + 1), ("fast", "served")]
    assert [one.seed for one in local.requests] == [*range(7, 8 + retries)]


def test_a_better_second_try_is_heard() -> None:
    """One objection is not the end of a backend."""
    told = race(scripts(local=("No.", "Yes."), fast="Fast."), checks=[no], retries=1)
    assert told.trail == [("local", "objected"), ("local", "served")]
    assert told.text == "Yes."


def test_an_objection_beside_a_late_one() -> None:
    """The late one goes on, and is heard if what it says is good."""
    told = race(
        scripts(local=[wait(200), "Local."], fast=[wait(20), "No."]),
        checks=[no],
        first_token_ms=100,
    )
    assert told.trail == [("fast", "objected"), ("local", "served")]


# --- money ---------------------------------------------------------------------------------------


class Purse:
    """A governor that refuses some, and says what the others cost."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.open: dict[int, str] = {}
        self.closed: list[tuple[str, int]] = []

    def reserve(self, turn: Turn, name: str, request: GenerateRequest) -> Any:
        if name in self.refused:
            return "the day's ceiling is reached"
        made = [name]
        self.open[id(made)] = name
        return made

    def settle(self, reservation: Any, prompt: int, completion: int, cached: int) -> float:
        del self.open[id(reservation)]
        self.closed.append((reservation[0], completion))
        return 0.5


def test_what_may_not_be_spent_is_skipped() -> None:
    """The next one is asked at once, and the trail says why."""
    local, fast = scripts(local="Local.", fast="Fast.")
    told = race([local, fast], governor=Purse("local"))
    assert deltas(told) == [(0, "Fast.")]
    assert told.trail == [("local", "refused"), ("fast", "served")]
    assert told.reasons[0] == "the day's ceiling is reached"
    assert local.calls == []


def test_everybody_who_was_asked_is_paid_once() -> None:
    """Who lost and was called back, who failed and who spoke; authored lines cost nothing."""
    purse = Purse()
    told = race(
        scripts(
            down=[BackendUnavailable("down", "is down")],
            local=[wait(1_000), "Local."],
            fast=[wait(50), "Fast and ", StreamBroken("fast", "cut")],
            static=authored,
        ),
        first_token_ms=100,
        governor=purse,
    )
    assert told.trail[0] == ("down", "failed")
    assert sorted(name for name, _ in purse.closed) == ["down", "fast", "local", "local"]
    assert purse.open == {}
    costs = {one.backend: one.cost_usd for one in told.turn.result.trail}
    assert costs == {"down": 0.5, "local": 0.5, "fast": 0.5, "static": 0.0}
    assert told.turn.result.usage.cost_usd == 2.0


def test_who_lost_to_one_that_dies_is_called_back() -> None:
    """It was well, only slower: it ends the line rather than an authored one."""
    told = race(
        scripts(
            local=([wait(150), "Local."], [wait(10), "Local ends it."]),
            fast=[wait(10), "Fast and ", wait(300), StreamBroken("fast", "cut")],
            static=authored,
        ),
        first_token_ms=100,
        hedges=1.0,
    )
    assert told.trail == [("local", "lost"), ("fast", "died"), ("local", "served")]
    assert told.text == "Fast and… Local ends it."


# --- cancelling, and the trail -------------------------------------------------------------------


@pytest.mark.parametrize("after_ms", [0, 50, 99, 100, 101, 150, 200, 250, 299, 300, 350])
def test_a_turn_can_be_cancelled_at_any_moment(after_ms: int) -> None:
    """Every backend is closed, paid once and in the trail once, and nothing is left running."""

    async def main() -> None:
        purse = Purse()
        backends = scripts(
            local=[wait(10_000), "Local."],
            fast=[wait(150), "Fast ", wait(10_000), "it is."],
            static=authored,
        )
        chain = make_chain(*backends, hedges=1.0, governor=purse)
        before = asyncio.all_tasks()
        told = Told(make_turn(persona=make_persona()))
        task = asyncio.create_task(tell(chain, told=told, first_token_ms=100, filler_ms=300))
        await asyncio.sleep(after_ms / 1000)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert asyncio.all_tasks() == before
        calls = [call for one in backends[:2] for call in one.calls]
        assert all(call.closed_early for call in calls)
        assert purse.open == {}
        assert len(purse.closed) == len(calls)
        spoke = [one for one in told.trail if one[0] != "static"]
        assert len(spoke) == len(calls)
        for entry in chain.entries.values():
            assert (entry.servers[0].active, entry.servers[0].waiting) == (0, 0)
            assert entry.servers[0].breaker.allows()

    run(main())


class Clinging(ScriptedBackend):
    """A backend that does not let go of a stream for five seconds."""

    async def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Stream its reply."""
        try:
            async for piece in super().generate(request):
                yield piece
        finally:
            await asyncio.sleep(5)


def test_backends_are_let_go_of_together() -> None:
    """The NPC's next turn waits for the slowest of them, not for one after the other."""

    async def main() -> float:
        losers = [Clinging(name, HANGS) for name in ("one", "two", "three")]
        chain = make_chain(*losers, ScriptedBackend("fast", "Fast."), hedges=3.0)
        told = await tell(chain, first_token_ms=100)
        assert told.text == "Fast."
        took_s = asyncio.get_running_loop().time() - told.begun
        await asyncio.sleep(5)
        return took_s

    assert run(main()) == pytest.approx(1.3)


def test_the_trail_is_complete() -> None:
    """Each entry says when it was asked, when its first text came, and when its end was known."""
    told = race(
        scripts(
            local=[BackendUnavailable("local", "down")],
            fast=["I was ", StreamBroken("fast", "cut")],
            static=authored,
        )
    )
    local, fast, static = told.turn.result.trail
    assert local.begun_ms is not None
    assert local.first_ms is None
    for one in (fast, static):
        assert one.begun_ms is not None
        assert one.first_ms is not None
        assert one.begun_ms <= one.first_ms <= one.at_ms
    assert local.at_ms <= fast.begun_ms  # type: ignore[operator]  # it is not None
    assert fast.at_ms <= static.begun_ms  # type: ignore[operator]  # it is not None
    skipped = race(scripts(local=HANGS, fast="F."), first_token_ms=167, first_text_ms=200)
    assert skipped.turn.result.trail[0].begun_ms is None
