"""JSON between the mod and Palaver."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from luanti_stub.engine import Engine

ENGINE = Engine()
PART = ENGINE.A.json

plain = st.recursive(
    st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda one: (
        st.lists(one, min_size=1, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), one, min_size=1)
    ),
    max_leaves=8,
)


def encode(value: Any) -> str:
    """Return what the mod writes."""
    text = PART.encode(ENGINE.lua_value(value))
    assert isinstance(text, str), text
    return text


def decode(text: str) -> Any:
    """Return what the mod reads; a pair where it refuses."""
    value = PART.decode(text)
    return value if isinstance(value, tuple) else ENGINE.deep(value)


@settings(deadline=None)
@given(value=plain)
def test_what_is_written_is_json_with_the_same_values(value: Any) -> None:
    """Whole numbers stay whole, and everything is ASCII."""
    text = encode(value)
    assert text.isascii()
    assert json.loads(text) == value


def test_trap_5_whole_numbers_are_written_whole() -> None:
    """`write_json` of the engine would write 20.0."""
    assert encode({"wait_ms": 20, "half": 0.5, "big": 2**52}) == (
        '{"big":4503599627370496,"half":0.5,"wait_ms":20}'
    )


def test_trap_5_empty_tables_are_what_they_are_marked_as() -> None:
    """`write_json` of the engine would write null for all, as this does for one unmarked."""
    value = ENGINE.lua.table(a=PART.list(), b=PART.map(), c=ENGINE.lua.table())
    assert PART.encode(value) == '{"a":[],"b":{},"c":null}'


def test_trap_5_twenty_levels_are_no_problem() -> None:
    """`write_json` of 5.6.1 refuses them, and schemas of actions nest."""
    value: Any = 1
    for _ in range(30):
        value = {"a": value}
    assert json.loads(encode(value)) == value


def test_trap_5_no_number_is_written_that_is_none() -> None:
    """Neither NaN nor infinity is JSON."""
    values = ENGINE.lua.eval("{0/0, math.huge, -math.huge}")
    assert PART.encode(values) == "[null,null,null]"


@pytest.mark.parametrize(
    "value",
    ["{1, nil, 3}", "{1, x = 2}", "{[0] = 1}", "{[1.5] = 1}", "{f = print}", "{[true] = 1}"],
)
def test_what_json_has_no_place_for_is_refused_with_a_reason(value: str) -> None:
    """And raises nothing."""
    text, why = PART.encode(ENGINE.lua.eval(value))
    assert text is None
    assert "JSON has no place for" in why


def test_a_table_in_itself_is_refused() -> None:
    """As is every nesting that has no end."""
    value = ENGINE.lua.eval("(function() local t = {} t.t = t return t end)()")
    assert PART.encode(value)[0] is None


def test_bytes_that_are_no_text_are_replaced() -> None:
    """A name from another mod may be anything."""
    assert PART.encode(ENGINE.lua.eval(r"{'a\255\254b'}")) == '["a\\ufffdb"]'


@settings(deadline=None)
@given(value=plain.filter(lambda one: isinstance(one, dict | list)), ascii_=st.booleans())
def test_all_json_is_read(value: Any, ascii_: bool) -> None:
    """Brackets and slashes in strings confuse nobody."""
    read = decode(json.dumps(value, ensure_ascii=ascii_))
    assert read == json.loads(json.dumps(value), parse_int=float)


def test_trap_4_nesting_of_two_thousand_never_reaches_the_engine() -> None:
    """Its parser raises on it."""
    with pytest.raises(ValueError, match="stackLimit"):
        ENGINE.parse_json("[" * 2000 + "]" * 2000)
    assert decode("[" * 2000 + "]" * 2000) == (None, "nested too deep")
    assert decode('{"a":' * 2000 + "1" + "}" * 2000) == (None, "nested too deep")


def test_trap_4_an_engine_that_raises_all_the_same_does_no_harm() -> None:
    """Whatever it does not like."""
    engine = Engine()
    engine.core.parse_json = engine.lua.eval("function() error('no') end")
    assert engine.A.json.decode("{}") == (None, "no JSON")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing"),
        ("   ", "no JSON object"),
        ("<html>Bad gateway</html>", "no JSON object"),
        ('{"session": "s1", "mess', "cut short"),
        ('{"a": [1, 2}', "cut short"),
        ('{"a": "\\', "cut short"),
        ('{"a": 1} {"b": 2}', "something behind the JSON"),
        ('{"a": 1}, trailing', "something behind the JSON"),
        ('{"a": 1 /* a comment */}', "a comment"),
        ("{a: 1]", "no JSON"),
        ("42", "no JSON object"),
        ("null", "no JSON object"),
        ('{"a": "' + "x" * 300_000 + '"}', "too large"),
    ],
    ids=lambda one: one[:20],
)
def test_trap_4_whatever_is_no_json_object_is_told_from_one(text: str, why: str) -> None:
    """The engine's parser would take what comes before the garbage."""
    assert decode(text) == (None, why)


def test_nothing_is_nothing() -> None:
    """An answer without a body has none."""
    assert PART.decode(None) == (None, "nothing")
