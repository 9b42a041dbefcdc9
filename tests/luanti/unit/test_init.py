"""The mod as the engine loads it."""

from __future__ import annotations

from typing import Any

import pytest
from luanti_stub.engine import Engine

API = {
    "version", "register_npc", "set_context", "think", "attach", "register_action", "say",
    "get_npc", "status",
}  # fmt: skip


@pytest.fixture
def whole() -> Engine:
    """A game with all of the mod."""
    return Engine(parts=None)


def keys(engine: Engine, path: str) -> set[str]:
    """Return the keys of a global table."""
    return {str(key) for key in engine.lua.eval(path)}


def test_it_has_one_global_with_its_api_and_nothing_else() -> None:
    """No other mod can reach the HTTP table or the token through it."""
    empty = Engine(parts=())
    engine = Engine(parts=None)
    new = keys(engine, "_G") - keys(empty, "_G")
    assert new == {"llm_agent"}
    assert keys(engine, "llm_agent") == API


def test_it_runs_in_one_step_that_cannot_fail(whole: Engine) -> None:
    """An error in one part leaves the others running."""
    step: Any = whole.core.registered.globalstep
    assert len(list(step)) == 1
    whole.step()
    assert len(whole.requests) == 1
    whole._get = lambda handle: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    whole.step(20)
    assert whole.core.registered.globalstep


@pytest.mark.parametrize("how", [{"allowed": False}, {"curl": False}], ids=["forbidden", "no cURL"])
def test_without_http_it_loads_and_runs(how: dict[str, bool]) -> None:
    """With one line in the log."""
    engine = Engine(parts=None, **how)  # type: ignore[arg-type]
    engine.step(50)
    assert len(engine.log("error")) == 1
    assert engine.requests == []
