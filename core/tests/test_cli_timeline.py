"""A turn's trail as a timeline: readable without colour, in 80 columns, and true to scale."""

# ruff: noqa: RUF001  # a cross of boxes

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.cli.timeline import legend, render
from palaver.cli.timeline.chart import ASCII
from palaver.recent import TurnInfo

SERVED = {"backend": "fast", "type": "cloud", "model": "quick-1", "adapter": None}
NOBODY = {"backend": "", "type": "", "model": None, "adapter": None}


def info(*trail: dict[str, Any], **more: Any) -> TurnInfo:
    """Return a turn of two seconds with this trail."""
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "cost_usd": 0.0}
    plain = {
        "turn": "t17",
        "npc": "vlad",
        "status": "completed",
        "served_by": SERVED,
        "usage": usage,
        "ttft_ms": 1_600.0,
        "total_ms": 2_000.0,
        "trail": trail,
        **more,
    }
    return TurnInfo.model_validate(plain)


def test_what_the_cache_made_of_it_is_told() -> None:
    """Below the figures stands why the cache did not answer."""
    served = {"backend": "local", "outcome": "served", "at_ms": 2_000}
    shown = render(info(served, cache="not asked, because a seed is set"), width=80, colour=False)
    assert "cache: not asked, because a seed is set" in shown
    assert "cache:" not in render(info(served), width=80, colour=False)


def test_how_long_the_game_was_waited_for_is_told() -> None:
    """A line that waited for the game says how long, and what the game refused."""
    served = {"backend": "local", "outcome": "served", "at_ms": 2_000}
    refused = {**served, "at_ms": 700, "reason": "the game refused give_item: no bread left"}
    shown = render(info(refused, served, game_ms=240.4), width=80, colour=False)
    assert "the game took 240 ms to answer what was done" in shown
    assert "the game refused give_item: no bread left" in shown
    assert "the game took" not in render(info(served), width=80, colour=False)


def entry(backend: str, outcome: str, at_ms: float, **more: Any) -> dict[str, Any]:
    """Return an entry of a trail."""
    return {"backend": backend, "outcome": outcome, "at_ms": at_ms, **more}


RESCUED = info(
    entry("premium", "refused", 5, reason="the tier has spent what it may in a day"),
    entry("local", "died", 1_200, begun_ms=20, first_ms=400, reason="silent for 600 ms"),
    entry(
        "fast",
        "served",
        2_000,
        begun_ms=1_200,
        first_ms=1_600,
        prompt_tokens=180,
        completion_tokens=40,
        cost_usd=0.00042,
    ),
    status="rescued",
    player="ada",
    persona="vampire",
    tier="elite",
    ttft_ms=400,
    limits={"first_text_ms": 1_500, "total_ms": 15_000},
    usage={"prompt_tokens": 360, "completion_tokens": 80, "cost_usd": 0.00042},
)
DRAWN = """\
turn t17 · npc vlad · as vampire · player ada · tier elite
local died in the middle of the line, and fast (quick-1) went on; premium
refused.
rescued · first words 400 ms · all 2.0 s · 360 + 80 tokens · $0.00042
         0            500 ms       1 s         1.5 s        2 s
         ┬────────────┬────────────┬───────────┬────────────┬
premium  ◆                                     ┊              refused 5.0 ms
          the tier has spent what it may in a day
local     ─────────●━━━━━━━━━━━━━━━━━━━━╳      ┊              died 1.2 s
          silent for 600 ms
fast                                    ──────────●━━━━━━━━━┫ served 2.0 s
          180 + 40 tokens · $0.00042
shown              ●━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ from 400 ms
                                               ┊ first words due 1.5 s
"""


def lines(text: str) -> list[str]:
    """Return lines without the white space at their ends."""
    return [line.rstrip() for line in text.rstrip().split("\n")]


def test_the_whole_picture() -> None:
    """Bars stand where things happened, and each says in words what became of it."""
    assert lines(render(RESCUED, width=80, colour=False)) == lines(DRAWN)


def test_plain_letters_say_the_same() -> None:
    """A terminal that has nothing else gets letters at the same places."""
    text = render(RESCUED, width=80, colour=False, glyphs=ASCII).replace(" · ", " ")
    assert text.isascii()
    assert "local     ---------o====================x      :" in text
    assert legend(ASCII).isascii()


def test_colour_adds_nothing_but_colour() -> None:
    """What is green or red is said in words too."""
    import re

    coloured = render(RESCUED, width=80, colour=True)
    assert "\x1b[" in coloured
    plain = re.sub(r"\x1b\[[\d;]*m", "", coloured)
    assert lines(plain) == lines(DRAWN)


@pytest.mark.parametrize(
    ("trail", "more", "story"),
    [
        ([entry("fast", "served", 9)], {}, "fast (quick-1) spoke."),
        (
            [entry("local", "failed", 1), entry("mid", "late", 2), entry("fast", "served", 9)],
            {},
            "fast (quick-1) spoke, because local failed and mid was late.",
        ),
        (
            [entry("a", "late", 1), entry("b", "late", 2), entry("fast", "served", 9)],
            {"status": "truncated"},
            "fast (quick-1) spoke, because a and b were late, cut by length.",
        ),
        (
            [entry("fast", "served", 9, reason="ended at a sentence: a secret")],
            {"status": "truncated"},
            "fast (quick-1) spoke, until a check objected: a secret.",
        ),
        (
            [entry("slow", "lost", 1), entry("fast", "served", 9)],
            {},
            "fast (quick-1) spoke; slow lost the race.",
        ),
        (
            [entry("static", "served", 3, reason="filler"), entry("fast", "served", 9)],
            {},
            "fast (quick-1) spoke. A filler was spoken first.",
        ),
        (
            [entry("local", "failed", 1), entry("last_words", "served", 2)],
            {"served_by": {**NOBODY, "backend": "last_words"}},
            "The persona's last words were spoken, because local failed.",
        ),
        (
            [entry("local", "died", 1), entry("last_words", "served", 2)],
            {"served_by": {**NOBODY, "backend": "last_words"}, "status": "rescued"},
            "local died in the middle of the line, and the persona's last words went on.",
        ),
        (
            [entry("cache", "served", 1)],
            {"cached": True},
            "The dialogue cache answered: this was said before.",
        ),
        (
            [entry("fast", "served", 9, reason="the turn was cancelled")],
            {"status": "cancelled"},
            "fast (quick-1) spoke, until the turn was cancelled.",
        ),
        (
            [entry("fast", "skipped", 9, reason="the turn was cancelled")],
            {"status": "cancelled", "ttft_ms": None, "served_by": NOBODY},
            "Cancelled before anybody had spoken.",
        ),
        ([], {"status": "cancelled", "ttft_ms": None}, "Cancelled before anybody had spoken."),
        ([entry("local", "died", 1)], {"status": "rescued"}, "local died."),
        ([], {"ttft_ms": None}, "Nobody spoke."),
    ],
)
def test_who_spoke_and_why(trail: list[dict[str, Any]], more: dict[str, Any], story: str) -> None:
    """The second line says it in a sentence."""
    assert lines(render(info(*trail, **more), width=120, colour=False))[1] == story


def test_a_queue_and_a_filler() -> None:
    """Time spent in a queue is drawn, and a filler is a moment of its own."""
    text = render(
        info(
            entry("static", "served", 900, reason="filler"),
            entry("fast", "served", 2_000, begun_ms=300, first_ms=1_600),
            waited_ms=300,
            ttft_ms=900,
        ),
        width=80,
        colour=False,
    )
    rows = {line.split(" ")[0]: line for line in lines(text)}
    assert rows["queued"].count("░") > 3
    assert "◆" in rows["static"]
    assert rows["static"].endswith("filler 900 ms")
    assert rows["fast"].index("─") == rows["queued"].rindex("░")


def test_a_limit_that_is_far_off_does_not_squeeze_the_rest() -> None:
    """A turn of 4 ms is not drawn on an axis of 15 s."""
    quick = info(
        entry("static", "served", 4, begun_ms=3.1, first_ms=3.9),
        limits={"first_text_ms": 1_500, "total_ms": 15_000},
        ttft_ms=3.9,
        total_ms=4.1,
    )
    text = render(quick, width=80, colour=False)
    assert "due" not in text
    assert "4 ms" in lines(text)[3]


def test_names_and_reasons_cannot_move_the_cursor() -> None:
    """What others wrote is shown without its control characters."""
    text = render(
        info(entry("\x1b[2Jfast", "failed", 1, reason="\x1b]0;mine\x07no [red]way"), npc="\x9bx"),
        width=80,
        colour=False,
    )
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "no [red]way" in text


TIMES = st.floats(0, 1e6)
TRAILS = st.lists(
    st.fixed_dictionaries(
        {
            "backend": st.text("abc-", min_size=1, max_size=30),
            "outcome": st.sampled_from(
                ["served", "failed", "late", "refused", "objected", "lost", "died", "skipped"]
            ),
            "at_ms": TIMES,
            "reason": st.none() | st.text("ab ", max_size=200),
            "begun_ms": st.none() | TIMES,
            "first_ms": st.none() | TIMES,
            "cost_usd": st.none() | st.floats(0, 10),
            "prompt_tokens": st.none() | st.integers(0, 10**6),
        }
    ),
    max_size=8,
)


@given(TRAILS, TIMES, st.none() | TIMES, st.integers(0, 200), TIMES)
def test_any_trail_fits(
    trail: list[dict[str, Any]], total: float, first: float | None, width: int, limit: float
) -> None:
    """Whatever a trail says, in whatever order, no line is wider than the terminal."""
    limits = {"first_text_ms": limit, "total_ms": limit * 3}
    text = render(
        info(*trail, total_ms=total, ttft_ms=first, limits=limits), width=width, colour=False
    )
    assert max(map(len, lines(text))) <= max(60, min(width, 120))
