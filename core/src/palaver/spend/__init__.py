"""What replies cost, and what they may cost: prices, ceilings, and the sums of the day."""

from __future__ import annotations

from palaver.spend.governor import Governor, Reservation
from palaver.spend.prices import Price, PriceTable, load_prices, price_of

__all__ = ["Governor", "Price", "PriceTable", "Reservation", "load_prices", "price_of"]
