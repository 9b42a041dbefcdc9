"""Nothing is spoken of before it is true: actions that the game confirms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from palaver.actions import DeclaredAction
from palaver.chain.backend import Finish
from palaver.testing import clock
from palaver.testing.chains import Told, make_chain, tell, wait
from palaver.testing.gateways import Sink
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.turns import make_persona, make_turn
from palaver.turn.confirm import Answers
from palaver.turn.model import Turn
from palaver.turn.tags import TagFilter

GIVE = '<do give_item {"item": "bread"}>'
TAKE = "<do take_coin>"
ARGS = {"type": "object", "properties": {"item": {"type": "string"}}}
ACTIONS = {
    "give_item": DeclaredAction("give_item", "Gives.", ARGS, confirm=True),
    "take_coin": DeclaredAction("take_coin", "Takes.", {}, confirm=True, confirm_ms=1500),
    "bow": DeclaredAction("bow", "Bows.", {}),
}


@dataclass(frozen=True)
class Says:
    """What the game answers to one action.

    Attributes:
        ok: Whether it carries it out.
        after_ms: When.
        message: Why, in its own words.
        times: How often it says so.
    """

    ok: bool
    after_ms: float = 40
    message: str | None = None
    times: int = 1


class Game(Sink):
    """An engine that answers actions, one after another, as it was told to."""

    def __init__(self, turn: Turn, answers: Sequence[Says | None]) -> None:
        super().__init__()
        self.turn = turn
        self.script = list(answers)
        self.counted: list[bool] = []

    def emit(self, head: str, tail: str) -> None:
        super().emit(head, tail)
        frame = self.frames[-1]
        if frame.type == "turn.action" and self.script:
            says = self.script.pop(0)
            if says is not None:
                loop = asyncio.get_running_loop()
                for _ in range(says.times):
                    loop.call_later(says.after_ms / 1000, self._say, frame.fields["call"], says)

    def _say(self, call: str, says: Says) -> None:
        assert self.turn.answers is not None
        self.counted.append(self.turn.answers.answer(call, ok=says.ok, message=says.message))

    @property
    def story(self) -> list[str]:
        """What was sent, in order: text as it is, joined, and names of actions and emotions."""
        told: list[str] = []
        for frame in self.frames:
            if frame.type == "turn.delta":
                if told and not told[-1].startswith("<"):
                    told[-1] += frame.fields["text"]
                else:
                    told.append(frame.fields["text"])
            elif frame.type in ("turn.action", "turn.emotion"):
                told.append(f"<{frame.fields['name']}>")
        return told

    def at_ms(self, text: str) -> int:
        """Return when a delta with this text was sent."""
        return next(
            round(frame.at * 1000)
            for frame in self.of("turn.delta")
            if text in frame.fields["text"]
        )


@dataclass
class Happened(Told):
    """A turn and the game that it was played in."""

    @property
    def game(self) -> Game:
        assert isinstance(self.sink, Game)
        return self.sink


def play(
    *backends: ScriptedBackend,
    answers: Sequence[Says | None] = (),
    answering: bool = True,
    cancel_ms: float | None = None,
    filters: Sequence[Callable[[], Any]] = (),
    persona: dict[str, Any] | None = None,
    instant: Sequence[str] = ("static",),
    **tier: Any,
) -> Happened:
    """Run a turn in virtual time."""

    async def run() -> Happened:
        turn = make_turn(
            persona=make_persona(**{"last_words": "Farewell.", **(persona or {})}),
            actions=ACTIONS,
            answers=Answers() if answering else None,
        )
        told = Happened(turn, Game(turn, answers))
        made = [lambda: TagFilter(turn, turn.actions), *filters]
        chain = make_chain(*backends, instant=instant)
        task = asyncio.ensure_future(tell(chain, turn=turn, told=told, filters=made, **tier))
        if cancel_ms is not None:
            asyncio.get_running_loop().call_later(cancel_ms / 1000, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            turn.result.status = "cancelled"
        assert told.text == turn.result.text
        return told

    return clock.run(run())


def local(*replies: Any) -> ScriptedBackend:
    """Return a model that gives these replies."""
    return ScriptedBackend("local", *replies)


def test_what_the_game_accepts_goes_on_in_order() -> None:
    """Text, feelings and further actions wait for the game, then follow as they came."""
    model = local(["Wait. ", GIVE, "<feel joy>", "Here, ", "eat. ", "<do bow>", "Enjoy.", Finish()])
    told = play(model, answers=[Says(ok=True, after_ms=240)])
    assert told.game.story == ["Wait.", "<give_item>", "<joy>", " Here, eat.", "<bow>", " Enjoy."]
    assert told.text == "Wait. Here, eat. Enjoy."
    assert told.game.at_ms("Wait") == 0
    assert told.game.at_ms("Here") == 240
    assert told.trail == [("local", "served")]
    assert told.turn.result.status == "completed"
    assert "waited 240 ms for the game: give_item accepted" in told.turn.trace
    assert len(model.calls) == 1


def test_the_first_word_waits_too() -> None:
    """An action before the first word is shown when the first words are there, and holds them."""
    told = play(local([GIVE, "Take this.", Finish()]), answers=[Says(ok=True, after_ms=100)])
    assert told.game.story == ["<give_item>", "Take this."]
    assert told.game.at_ms("Take") == 100


def test_what_the_game_refuses_is_never_spoken_of() -> None:
    """What was held is thrown away, and the same model goes on knowing why."""
    model = local(
        ["Let me see. ", GIVE, "Enjoy ", "it!", wait(60_000)],
        lambda request: "My basket is empty.",
    )
    told = play(model, answers=[Says(ok=False, after_ms=70, message="no bread left")])
    assert told.text == "Let me see. My basket is empty."
    assert told.turn.result.status == "completed"
    assert told.trail == [("local", "served"), ("local", "served")]
    assert told.reasons == ["the game refused give_item: no bread left", None]
    assert "waited 70 ms for the game: give_item refused: no bread left" in told.turn.trace
    first, second = model.calls
    assert first.closed_early
    assert second.request.shown == "Let me see."
    assert "no bread left" in second.request.messages[-1].content
    assert "no bread left" not in first.request.messages[-1].content


def test_no_answer_counts_as_refused() -> None:
    """A game that says nothing within `confirm_ms` has refused, and what it says later is late."""
    model = local(["Let me see. ", GIVE, "Enjoy.", Finish()], "No, wait.")
    told = play(model, answers=[Says(ok=True, after_ms=501)], stall_ms=1000)
    assert told.text == "Let me see. No, wait."
    assert told.reasons[0] == "the game did not answer to give_item within 500 ms"
    assert told.game.at_ms("No") == 500


def test_each_action_has_its_own_time() -> None:
    """`confirm_ms` of the declaration says how long the line waits."""
    told = play(local([TAKE, "Thanks.", Finish()]), answers=[Says(ok=True, after_ms=1499)])
    assert told.text == "Thanks."
    assert told.game.at_ms("Thanks") == 1499
