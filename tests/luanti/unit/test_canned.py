"""Canned lines, and what is counted."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest


@pytest.mark.parametrize("why", ["away", "late", "busy", "http", "cooldown", "refused", "other"])
def test_there_is_a_line_for_every_reason(parts: Any, why: str) -> None:
    """Plain, without the engine's escapes: it is shown letter by letter."""
    line = parts.canned.line("mira", why)
    assert line
    assert "\x1b" not in line


def test_no_line_comes_twice_in_a_row(parts: Any) -> None:
    """Of an NPC."""
    lines = [parts.canned.line("mira", "away") for _ in range(50)]
    assert all(a != b for a, b in pairwise(lines))
    assert len(set(lines)) > 1


def test_an_npc_has_its_own(game: Any) -> None:
    """`canned` of its definition."""
    talk = game()
    own = talk.lua.eval("{get = function() return {def = {canned = {'Baa.', 'Maa.'}}} end}")
    talk.A.npcs = own
    assert {talk.A.canned.line("sheep", "away") for _ in range(20)} == {"Baa.", "Maa."}


@pytest.mark.parametrize("canned", ["'x'", "{}", "{1}", "{{}}", "nil"])
def test_a_wrong_definition_is_no_error(game: Any, canned: str) -> None:
    """The general lines are there."""
    talk = game()
    talk.A.npcs = talk.lua.eval(f"{{get = function() return {{def = {{canned = {canned}}}}} end}}")
    assert talk.A.canned.line("sheep", "away")


def test_lines_are_in_the_language_of_who_reads_them(game: Any) -> None:
    """Translated here: a client cannot translate text that grows."""
    talk = game()
    talk.core.players.ada = talk.lua.eval("{lang = 'de'}")
    english = {talk.A.canned.line("mira", "busy", "ada") for _ in range(50)}
    talk.words = {("de", line): f"de:{line}" for line in english}
    assert talk.A.canned.line("mira", "busy", "ada").startswith("de:")
    assert not talk.A.canned.line("mira", "busy", "bob").startswith("de:")


def test_quantiles_are_of_the_newest_samples(parts: Any) -> None:
    """Whole milliseconds."""
    for n in range(1, 101):
        parts.stats.first_words(n / 100)
    found = parts.stats.snapshot().first_words_ms
    assert (found.samples, found.p50, found.p99, found.max) == (100, 500, 990, 1000)


def test_no_server_makes_the_counts_grow_without_end(parts: Any) -> None:
    """A code of an error is the server's word."""
    for n in range(1000):
        parts.stats.count("errors", f"code {n}")
    found = parts.stats.snapshot()
    assert found.errors == 1000
    assert len(list(found.errors_why)) <= 33
    assert parts.json.encode(found)
