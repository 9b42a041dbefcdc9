"""Errors stay inside the mod."""

from __future__ import annotations

import pytest
from luanti_stub.engine import MOD, Engine, lua


def test_trap_3_an_error_in_a_callback_goes_no_further() -> None:
    """It is logged with its place, and the fallback is the answer."""
    engine = Engine()
    wrapped = engine.A.protect.wrap("on_fields", engine.lua.eval("function() nil_() end"), True)
    assert wrapped() is True
    assert "in on_fields:" in engine.log("error")[-1]
    assert "traceback" in engine.log("error")[-1]


def test_the_same_error_is_logged_once_and_counted_always() -> None:
    """A step has eleven a second."""
    engine = Engine()
    wrapped = engine.A.protect.wrap("step", engine.lua.eval("function() error('boom') end"))
    for _ in range(100):
        wrapped()
    assert len(engine.log("error")) == 1
    count, last = engine.A.protect.errors()
    assert count == 100
    assert "boom" in last


def test_errors_that_differ_each_time_do_not_fill_the_log() -> None:
    """Nor the memory."""
    engine = Engine()
    wrapped = engine.A.protect.wrap("x", engine.lua.eval("function(n) error('at ' .. n) end"))
    for n in range(1000):
        wrapped(n)
    assert len(engine.log("error")) == 64
    assert engine.A.protect.errors()[0] == 1000


@pytest.mark.parametrize("raised", ["{}", "nil", "setmetatable({}, {__tostring = error})"])
def test_an_error_may_be_anything(raised: str) -> None:
    """Not only text."""
    engine = Engine()
    assert (
        engine.A.protect.call("x", engine.lua.eval(f"function() error({raised}) end"))[0] is False
    )


@pytest.mark.parametrize("jit", [True, False], ids=["LuaJIT", "Lua 5.1"])
def test_arguments_and_results_get_through(jit: bool) -> None:
    """With nothing in the middle of them, also where `xpcall` passes no arguments on."""
    runtime = lua.LuaRuntime(unpack_returned_tuples=True)
    if not jit:
        runtime.execute("local x = xpcall; function xpcall(f, h) return x(f, h) end")
    load = runtime.eval("function(name) return assert(loadfile(name))({log = print}) end")
    protect = load(str(MOD / "src" / "protect.lua"))
    echo = runtime.eval("function(...) return ... end")
    assert protect.call("x", echo, 1, None, 3) == (True, 1, None, 3)
    assert protect.wrap("x", echo)(1, None, 3) == (1, None, 3)
