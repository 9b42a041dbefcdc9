"""Text that can be shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from luanti_stub.engine import Engine

ESC = "\x1b"


@pytest.fixture(scope="module")
def text() -> Any:
    """The part, with Lua strings as bytes."""
    engine = Engine()
    load = engine.lua.eval(
        "function(T) return {clean = T.clean, line = T.line, cut = T.cut, len = T.len,"
        " valid = T.valid, advance = T.advance, wrap = T.wrap, words = T.words} end"
    )
    return load(engine.A.text)


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        pytest.param("Good evening.", "Good evening.", id="plain"),
        pytest.param(f"{ESC}(c@#ff0000)red{ESC}(c@#ffffff)", "red", id="colour"),
        pytest.param(f"{ESC}(b@#000)x{ESC}(T@mod)hi{ESC}Fthere{ESC}E{ESC}E", "xhithere", id="all"),
        pytest.param(f"{ESC}{ESC}(c@red)(c@red)x", "(c@red)x", id="an escape made of escapes"),
        pytest.param(f"{ESC}(c@red", "(c@red", id="not closed"),
        pytest.param(f"a{ESC}", "a", id="alone"),
        pytest.param("one\r\ntwo\tthree", "one two three", id="line breaks"),
        pytest.param("a\x00b\x07c\x7fd", "abcd", id="control"),
        pytest.param("a\u0085b\u009fc", "abc", id="control of latin 1"),
        pytest.param("a\u202eb\u2066c\ufeffd\u2028e", "abcde", id="direction"),
        pytest.param("Füße 😀 日本", "Füße 😀 日本", id="unicode"),
        pytest.param("[list;a,b]\\ {}", "[list;a,b]\\ {}", id="formspec is escaped elsewhere"),
    ],
)
def test_clean_leaves_only_what_can_be_shown(text: Any, given_: str, wanted: str) -> None:
    """Escapes of the engine, control characters and marks of direction do not get through."""
    assert text.clean(given_) == wanted


def test_clean_of_what_is_no_text_is_empty(text: Any) -> None:
    """Models and players send numbers and nothing, too."""
    assert text.clean(None) == ""
    assert text.clean(12) == ""


def test_clean_does_not_trim(text: Any) -> None:
    """The pieces of a reply begin and end with spaces."""
    assert text.clean(" evening ") == " evening "
    assert text.line("  good   evening \n ") == "good evening"


def test_ten_thousand_characters_are_bounded(text: Any) -> None:
    """A bound counts code points, and never cuts one in two."""
    assert text.clean("é" * 10_000, 2000) == "é" * 2000
    assert text.line("x" * 1_000_000, 500) == "x" * 500


@settings(deadline=None)
@given(raw=st.binary(max_size=60))
def test_any_bytes_become_what_the_rest_of_the_world_calls_utf_8(raw: bytes) -> None:
    """What is no UTF-8 is replaced, what is stays."""
    valid = _BYTES.valid(raw)
    good = valid.decode()
    try:
        assert raw.decode() == good
    except UnicodeDecodeError:
        assert "\ufffd" in good
    clean = _BYTES.clean(raw).decode()
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in clean)


@settings(deadline=None)
@given(s=st.text(max_size=40), n=st.integers(0, 45))
def test_cut_and_length_count_code_points(s: str, n: int) -> None:
    """As Python does, and as the wire protocol does."""
    encoded = s.encode("utf-8", "ignore")
    s = encoded.decode()
    assert _BYTES.cut(encoded, n).decode() == s[:n]
    assert _BYTES.len(encoded) == len(s)
    end, chars = _BYTES.advance(encoded, 0, n)
    assert encoded[:end].decode() == s[:n]
    assert chars == min(n, len(s))


@settings(deadline=None)
@given(s=st.text(alphabet="aé😀 ", max_size=60), columns=st.integers(1, 12))
def test_wrapped_lines_fit_and_keep_every_letter(s: str, columns: int) -> None:
    """Words that are too long are broken."""
    lines = [line.decode() for line in _BYTES.wrap(s.encode(), columns).values()]
    assert all(0 < len(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == s.replace(" ", "")


def test_lines_break_between_words(text: Any) -> None:
    """Where they can."""
    lines = list(text.wrap("the quick brown fox", 9).values())
    assert lines == ["the quick", "brown fox"]


class _Bytes:
    """The part with bytes in and out, so that text that is none can be given."""

    def __init__(self) -> None:
        from luanti_stub.engine import MOD, lua

        runtime = lua.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        code = (MOD / "src" / "text.lua").read_bytes()
        self._part = runtime.execute(code)

    def __getattr__(self, name: str) -> Any:
        return self._part[name.encode()]


_BYTES = _Bytes()
