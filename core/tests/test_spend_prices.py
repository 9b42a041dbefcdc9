"""Price tables: which price counts, and what calls cost."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from palaver.chain.backend import BackendSettings, BackendType
from palaver.errors import ConfigError
from palaver.spend.prices import SHIPPED, Price, PriceTable, load_prices, price_of


class Modelled(BackendSettings):
    """Settings of a type that names a model, as those of clouds do."""

    model: str = "gpt-6-luna"


CLOUD = BackendType("cloud", Modelled, lambda *_: None, paid=True)  # type: ignore[arg-type]  # never made
LOCAL = BackendType("local", Modelled, lambda *_: None)  # type: ignore[arg-type]  # never made


def settings(**fields: object) -> Modelled:
    """Return settings with these fields."""
    return Modelled.model_validate({"type": "cloud", **fields})


def test_the_shipped_table() -> None:
    """Every shipped price has a date and an official page, and each entry can be reached."""
    table = load_prices()
    for entry in table.entries:
        assert entry.as_of is not None
        assert date(2026, 1, 1) < entry.as_of < date(2030, 1, 1)
        assert entry.source.startswith(
            (
                "https://developers.openai.com/",
                "https://platform.claude.com/",
                "https://ai.google.dev/",
            )
        )
        name = entry.match.replace("*", "")
        found = table.find(name)
        assert found is not None
        assert found.source == entry.source
        assert (found.prompt, found.completion) == (entry.prompt, entry.completion), name
        assert found.cached <= found.prompt <= found.completion
    assert table.find("a-model-of-tomorrow") is None
    assert SHIPPED.is_file()


def test_longer_names_come_first() -> None:
    """`claude-opus-5-5` is not taken for `claude-opus-5`."""
    table = load_prices()
    newer, older = table.find("claude-opus-5-5"), table.find("claude-opus-5-20260724")
    assert newer is not None
    assert older is not None
    assert (newer.prompt, older.prompt) == (4.0, 5.0)


def test_what_a_call_costs() -> None:
    """Cached prompt tokens cost less, and what providers write into their cache costs more."""
    price = Price(prompt=2.0, cached=0.2, completion=10.0, written=2.5)
    assert price.cost(1_000, 100) == pytest.approx(0.002 + 0.001)
    assert price.cost(1_000, 100, 600) == pytest.approx(0.0008 + 0.00012 + 0.001)
    assert price.cost(2_000, 0) == pytest.approx(0.005), "long enough to be written"
    assert price.cost(2_000, 0, 1_500) == pytest.approx(0.001 + 0.0003), "the rest is short"
    assert price.cost(10, 0, 500) == pytest.approx(10 * 0.2 / 1e6), "no more than there are"


def test_ones_own_table_comes_first(tmp_path: Path) -> None:
    """`[spend] prices` names a table whose entries count before the shipped ones."""
    own = tmp_path / "prices.toml"
    own.write_text(
        '[[model]]\nmatch = "gpt-6-luna"\nprompt = 7\ncompletion = 8\n'
        '[[model]]\nmatch = "mine/*"\nprompt = 1\ncached = 0.5\ncompletion = 2\n',
        encoding="utf-8",
    )
    table = load_prices(own)
    luna, mine = table.find("gpt-6-luna"), table.find("mine/7b")
    assert luna is not None
    assert (luna.prompt, luna.cached, luna.completion) == (7, 7, 8)
    assert mine is not None
    assert (mine.prompt, mine.cached, mine.completion) == (1, 0.5, 2)
    assert table.find("gpt-6.1-terra") is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[model]]\nmatch = 'x'\nprompt = 1\n", "completion"),
        ("[[model]]\nmatch = 'x'\nprompt = -1\ncompletion = 1\n", "at least 0"),
        ("[[model]]\nmatch = 'x'\npromt = 1\nprompt = 1\ncompletion = 1\n", "prompt"),
        ("[[model", "TOML"),
        (None, "no such file"),
    ],
    ids=["missing", "negative", "typo", "no-toml", "no-file"],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, text: str | None, problem: str) -> None:
    """The error names the file and says what is wrong."""
    own = tmp_path / "prices.toml"
    if text is not None:
        own.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=problem) as caught:
        load_prices(own)
    assert caught.value.file == own


def test_which_price_counts() -> None:
    """A backend's own price comes first; a type that costs nothing needs none."""
    table = load_prices()
    known = price_of(settings(), CLOUD, table)
    assert known is not None
    assert (known.prompt, known.cached) == (0.10, 0.01)
    own = price_of(settings(usd_per_m_prompt=3, usd_per_m_completion=4), CLOUD, table)
    assert own is not None
    assert (own.prompt, own.cached, own.completion) == (3, 3, 4)
    half = price_of(settings(usd_per_m_completion=4), CLOUD, table)
    assert half is not None
    assert (half.prompt, half.completion) == (0.10, 4)
    free = price_of(settings(), LOCAL, table)
    assert free is not None
    assert free.free, "its model's name does not make it cost money"
    rented = price_of(settings(usd_per_m_completion=1), LOCAL, table)
    assert rented is not None
    assert (rented.prompt, rented.completion) == (0, 1)


def test_a_price_that_nothing_states() -> None:
    """None, also where only half of it is stated."""
    for fields in ({}, {"usd_per_m_prompt": 1}):
        assert price_of(settings(model="unheard-of", **fields), CLOUD, PriceTable()) is None
