"""What a million tokens cost, by model: a table with dates that is shipped, and one's own.

A price that a backend's own table states (`usd_per_m_prompt`, `usd_per_m_completion`) comes first,
then the file that `[spend] prices` names, then the shipped `prices.toml` beside this module.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palaver.errors import ConfigError
from palaver.explain import Trouble, explain

if TYPE_CHECKING:
    from palaver.chain.backend import BackendSettings, BackendType

__all__ = ["SHIPPED", "Price", "PriceEntry", "PriceTable", "load_prices", "price_of"]

SHIPPED = Path(__file__).with_name("prices.toml")
"""The table that comes with Palaver."""
MAX_FILE_BYTES = 1_000_000
LEAST_WRITTEN = 1_024
"""Providers that write their prompt caches unasked do so from this many tokens on."""

Usd = Annotated[float, Field(ge=0, le=1e6)]


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, in US dollars.

    Attributes:
        prompt: Prompt tokens that the provider had not in its cache.
        cached: Those it had.
        completion: Tokens of replies, thinking included.
        written: Prompt tokens that the provider puts into its cache unasked, or None where that
            costs no more than reading them.
        as_of: The day the price was read at its source, or None for one that settings state.
        source: Where it was read, or what stated it.
    """

    prompt: float
    cached: float
    completion: float
    written: float | None = None
    as_of: date | None = None
    source: str = ""

    @property
    def free(self) -> bool:
        """Whether nothing costs anything."""
        return not (self.prompt or self.cached or self.completion)

    def cost(self, prompt: int, completion: int, cached: int = 0) -> float:
        """Return what a call cost, in US dollars; where providers differ, the dearer way.

        Args:
            prompt: All prompt tokens.
            completion: Tokens of the reply.
            cached: Those of the prompt tokens that came from the provider's cache.
        """
        cached = min(cached, prompt)
        fresh = prompt - cached
        rate = self.prompt
        if self.written is not None and fresh >= LEAST_WRITTEN:
            rate = max(rate, self.written)
        return (fresh * rate + cached * self.cached + completion * self.completion) / 1e6


FREE = Price(0.0, 0.0, 0.0, source="costs nothing")


class PriceEntry(BaseModel):
    """One `[[model]]` of a price table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str = Field(
        min_length=1,
        max_length=200,
        description="Name of the model as it is asked for; `*` stands for anything.",
    )
    prompt: Usd = Field(description="A million prompt tokens, in US dollars.")
    cached: Usd | None = Field(
        default=None,
        description="A million prompt tokens from the provider's cache; None is as `prompt`.",
    )
    written: Usd | None = Field(
        default=None,
        description="A million prompt tokens that the provider puts into its cache unasked.",
    )
    completion: Usd = Field(description="A million tokens of replies, in US dollars.")
    as_of: date | None = Field(default=None, description="The day the price was read.")
    source: str = Field(default="", max_length=500, description="Where it was read.")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model: list[PriceEntry] = Field(default=[], max_length=10_000)


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by model; the first entry that fits counts.

    Attributes:
        entries: The entries, one's own before the shipped ones.
    """

    entries: Sequence[PriceEntry] = ()

    def find(self, model: str) -> Price | None:
        """Return the price of a model, or None where the table has none."""
        for entry in self.entries:
            if fnmatchcase(model, entry.match):
                cached = entry.prompt if entry.cached is None else entry.cached
                return Price(
                    entry.prompt,
                    cached,
                    entry.completion,
                    entry.written,
                    entry.as_of,
                    entry.source,
                )
        return None


def load_prices(own: Path | None = None) -> PriceTable:
    """Read the shipped price table, and one's own in front of it.

    Args:
        own: One's own, as `[spend] prices` names it.

    Raises:
        ConfigError: It cannot be read, or an entry cannot be used.
    """
    entries = [] if own is None else _read(own)
    return PriceTable((*entries, *_read(SHIPPED)))


def price_of(settings: BackendSettings, kind: BackendType, table: PriceTable) -> Price | None:
    """Return what a backend costs.

    Args:
        settings: Its settings.
        kind: Its type.
        table: The price table.

    Returns:
        The price, or None for a type that costs money whose price nothing states.
    """
    model = getattr(settings, "model", None)
    known = table.find(model) if kind.paid and isinstance(model, str) else None
    if known is None and not kind.paid:
        known = FREE
    prompt, completion = settings.usd_per_m_prompt, settings.usd_per_m_completion
    if prompt is None and completion is None:
        return known
    if known is None and (prompt is None or completion is None):
        return None
    assert known is not None or (prompt is not None and completion is not None)
    return Price(
        prompt if prompt is not None else known.prompt if known else 0.0,
        # Nothing states what cached tokens cost at this price: they count in full.
        prompt if prompt is not None else known.cached if known else 0.0,
        completion if completion is not None else known.completion if known else 0.0,
        source="palaver.toml",
    )


def _read(file: Path) -> list[PriceEntry]:
    try:
        if not file.is_file():
            raise ConfigError(
                "there is no such file; write a price table there, or take `prices` out of [spend]",
                file=file,
            )
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"is larger than {MAX_FILE_BYTES:,} bytes", file=file)
        data = tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as err:
        raise ConfigError(f"cannot be read: {err.strerror}", file=file) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"is no TOML: {err}; see docs/explanation/cost.md", file=file) from err
    try:
        return _File.model_validate(data).model
    except ValidationError as err:
        path, message = explain(err, _File)[0]
        raise ConfigError(message, file=file, key=Trouble(path, "").key) from err
