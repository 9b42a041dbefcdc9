"""Telling whoever runs the server how far ceilings are used up: once each, not with every turn."""

from __future__ import annotations

import logging
from decimal import Decimal

from palaver.spend.sums import SPECK, Sum

__all__ = ["ceiling_of", "tell_near", "tell_reached"]

log = logging.getLogger("palaver.spend")

WARN_AT = 0.8
"""Share of a ceiling at which the log warns."""


def tell_near(one: Sum) -> None:
    """Say that most of a ceiling is spent, if it is and was not said before."""
    if one.ceiling is None or one.warned or one.spent < WARN_AT * one.ceiling:
        return
    one.warned = True
    log.log(
        _level(one),
        "%.0f %% of %s is spent (%s)",
        100 * one.spent / one.ceiling if one.ceiling else 100,
        ceiling_of(one),
        _usd(one.spent),
    )


def tell_reached(one: Sum, usd: float) -> None:
    """Say that a ceiling is reached, if it is and was not said before.

    Args:
        one: The sum.
        usd: What a call that was refused for it might have cost.
    """
    # What is held by calls under way mostly comes back; then there is room again.
    if one.reached or one.ceiling is None or one.spent + usd <= one.ceiling + SPECK:
        return
    one.reached = True
    if not one.ceiling:
        # Nothing has run out: somebody closed the tap.
        log.log(_level(one), "%s lets nobody ask what costs money", ceiling_of(one))
        return
    until = "for the rest of it" if one.kind == "session" else "until 00:00 UTC"
    log.log(
        _level(one),
        "%s is reached: %s is spent, and another call to that backend might cost %s; turns go on "
        "down their chains %s",
        ceiling_of(one),
        _usd(one.spent),
        _usd(usd),
        until,
    )


def ceiling_of(one: Sum) -> str:
    """Return which ceiling it is: `the ceiling of $5.00 a day`."""
    usd = _usd(one.ceiling or 0.0)
    if one.kind == "tier":
        return f"the ceiling of {usd} a day for the tier {one.name!r}"
    if one.kind == "player":
        return f"the ceiling of {usd} a day for the player {one.name.partition('/')[2]!r}"
    if one.kind == "session":
        return f"the ceiling of {usd} for the session"
    return f"the ceiling of {usd} a day"


def _level(one: Sum) -> int:
    """Return how loud the log is: a player's ceiling is everyday life, the day's is not."""
    return logging.INFO if one.kind in ("player", "session") else logging.WARNING


def _usd(amount: float) -> str:
    """Return an amount in dollars and cents, or what is less with as many digits as tell it."""
    if amount >= 1 or not amount:
        return f"${amount:,.2f}"
    # Nobody reads `1e-07` as money.
    return f"${Decimal(f'{amount:.4g}'):f}"
