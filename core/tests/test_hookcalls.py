"""Hooks are called one plugin at a time; one that fails or is late harms no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest

from palaver import hookcalls, hookspecs
from palaver.hookcalls import call_async, call_sync, resolve
from palaver.hookspecs import hookimpl
from palaver.testing.turns import make_turn


def manager(*functions: Any) -> pluggy.PluginManager:
    """Return a manager with one plugin for each function."""
    made = pluggy.PluginManager("palaver")
    made.add_hookspecs(hookspecs)
    for number, function in enumerate(functions):
        made.register(SimpleNamespace(**{function.__name__: function}), f"plugin{number}")
    return made


def context(value: Any, **options: Any) -> Any:
    """Return an implementation of `palaver_build_context`."""

    @hookimpl(**options)
    def palaver_build_context(turn: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    return palaver_build_context


def test_order_is_that_of_registration() -> None:
    """First `tryfirst`, then as registered, last `trylast`."""
    calls = resolve(
        manager(context(1, trylast=True), context(2), context(3, tryfirst=True), context(4)),
        "palaver_build_context",
    )
    assert [call(turn=None) for call in calls] == [3, 2, 4, 1]


def test_palavers_own_hooks_come_first() -> None:
    """No plugin sees a turn or a reply before the core, whatever it marks and when it came."""
    made = manager(context(1, tryfirst=True))
    core = context("core")
    made.register(SimpleNamespace(palaver_build_context=core), "palaver")
    made.register(SimpleNamespace(palaver_build_context=context(2, tryfirst=True)), "late")
    calls = resolve(made, "palaver_build_context")
    assert calls[0](turn=None) == "core"


def test_a_failing_plugin_is_named_and_the_rest_goes_on() -> None:
    """The turn's trace names it."""
    calls = resolve(manager(context(ValueError("no")), context({"a": 1})), "palaver_build_context")
    turn = make_turn()
    assert call_sync(calls, turn.note, turn=turn) == [{"a": 1}]
    assert turn.trace == ["plugin plugin0 failed in palaver_build_context"]


async def test_a_late_plugin_is_left_behind() -> None:
    """One that never answers is given up after its limit."""

    @hookimpl
    def palaver_build_context(turn: Any) -> Awaitable[Any]:
        return asyncio.Event().wait()

    (call,) = resolve(manager(palaver_build_context), "palaver_build_context")
    turn = make_turn()
    assert await call_async(call, 0.01, turn.note, turn=turn) is None
    assert turn.trace == ["plugin plugin0 took longer than 10 ms in palaver_build_context"]


async def test_arguments_may_be_left_out() -> None:
    """An implementation names only the arguments it needs."""

    @hookimpl
    def palaver_turn_finished(result: Any) -> None:
        seen.append(result)

    seen: list[Any] = []
    (call,) = resolve(manager(palaver_turn_finished), "palaver_turn_finished")
    await call_async(call, 1, print, turn=None, result=5)
    assert seen == [5]


def test_a_plugin_that_blocks_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is served while a plain function takes its time; whoever wrote it should know."""
    monkeypatch.setattr(hookcalls, "SLOW_S", 0.0)
    (call,) = resolve(manager(context({"a": 1})), "palaver_build_context")
    assert call(turn=None) == {"a": 1}
    assert "plugin plugin0 held up the whole server" in caplog.text
    assert "async def" in caplog.text
