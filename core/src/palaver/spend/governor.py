"""The spend governor: no call to a backend that costs money beyond what may be spent.

Before a call its worst case is reserved: the prompt as long as it is estimated, the reply as long
as it may get. Afterwards what it really cost is settled. So turns that run at the same time never
go beyond a ceiling together. Both are plain calls, without waiting: what is shared with other
gateways and what is written down goes its own way (`sharing`, `book`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from palaver.spend.book import Book
from palaver.spend.prices import FREE, Price, PriceTable, load_prices, price_of
from palaver.spend.sharing import Sharing
from palaver.spend.sums import Sum, Sums
from palaver.spend.telling import ceiling_of, tell_near, tell_reached
from palaver.spend.tokens import prompt_tokens as estimate

if TYPE_CHECKING:
    from palaver.chain.backend import Backend, BackendType, GenerateRequest
    from palaver.config.models import Settings
    from palaver.store import Store
    from palaver.turn.model import Turn

__all__ = ["OFF", "Governor", "Reservation"]

log = logging.getLogger("palaver.spend")

OFF = "spending is off"
"""Why a call is refused where `[spend] mode` is `off`."""
DAY_S = 86_400


class Configured(Protocol):
    """A configured backend with its type."""

    @property
    def backend(self) -> Backend:
        """The backend."""

    @property
    def type(self) -> BackendType:
        """Its type."""


@dataclass(slots=True, eq=False)
class Reservation:
    """What a call may come to, held until it is settled.

    Attributes:
        backend: The backend.
        usd: What is held, in US dollars.
        price: What its tokens cost.
        prompt_tokens: Tokens of the prompt, estimated.
        max_tokens: Longest reply, in tokens, with what is thought before it.
        tier: The turn's tier, or `other` where the settings know none of this name.
        sums: What it counts towards.
        cost: What it really came to, once it is settled.
    """

    backend: str
    usd: float
    price: Price
    prompt_tokens: int
    max_tokens: int
    tier: str = ""
    sums: tuple[Sum, ...] = ()
    cost: float | None = None


class Governor:
    """Keeps what is spent below the ceilings.

    Args:
        settings: The settings, with `[spend]` and the tiers.
        entries: Configured backends by name.
        data_dir: Folder for the sums of the day, so that a restart does not forget them; None
            keeps them in this process alone.
        store: Where gateways share their sums, or None.
        prices: The price table; by default the shipped one, with what `[spend] prices` names.
        clock: Seconds since 1970; ceilings of a day count from midnight UTC.

    Raises:
        ConfigError: The price table cannot be used.

    Attributes:
        costs: What calls have cost since the start, in US dollars, by backend and tier: those of
            turns, and those in the background that no turn tells of.
    """

    def __init__(
        self,
        settings: Settings,
        entries: Mapping[str, Configured],
        data_dir: Path | None = None,
        *,
        store: Store | None = None,
        prices: PriceTable | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spend = settings.spend
        self._off = settings.spend.mode == "off"
        self._tiers = frozenset(settings.tiers)
        self.costs: dict[tuple[str, str], float] = {}
        if prices is None:
            costs = any(entry.type.paid for entry in entries.values())
            prices = load_prices(settings.spend.prices) if costs else PriceTable()
        self._prices: dict[str, Price | None] = {}
        self._paid: set[str] = set()
        self._chars: dict[str, float] = {}
        self._thinking: dict[str, int] = {}
        for name, entry in entries.items():
            price = price_of(entry.backend.settings, entry.type, prices)
            self._prices[name] = price
            self._chars[name] = entry.backend.settings.chars_per_token
            # Types whose models think before they speak say for how long they may; it is paid for.
            self._thinking[name] = getattr(entry.backend.settings, "thinking_tokens", None) or 0
            if entry.type.paid or (price is not None and not price.free):
                self._paid.add(name)
        self._clock = clock
        self._sums = Sums()
        self._unpriced: set[str] = set()
        self._book = Book(data_dir, self._sums) if data_dir is not None and self._paid else None
        self._sharing: Sharing | None = None
        if store is not None and store.shared:
            told = self._book.changed if self._book is not None else None
            self._sharing = Sharing(store, clock, told)
        self._roll()

    async def start(self) -> None:
        """Remember what was spent today, and begin to share it. It waits for no store."""
        if not self._paid:
            return
        if self._book is not None:
            await self._book.start()
            # Ceilings are the settings', not those of when it was written.
            self._sums.get("all", ceiling=self._spend.usd_per_day)
        if self._sharing is not None:
            self._sharing.start()
            for one in list(self._sums.of_today()):
                self._share(one)
            self._sharing.push(self._sums.get("all", ceiling=self._spend.usd_per_day))

    async def close(self) -> None:
        """Tell and write down what was not yet; safe to call twice."""
        if self._sharing is not None:
            await self._sharing.close()
        if self._book is not None:
            await self._book.close()

    def reserve(self, turn: Turn, name: str, request: GenerateRequest) -> Reservation | str:
        """Hold what a call may come to at the worst.

        Args:
            turn: The turn.
            name: The backend.
            request: What it is about to be asked.

        Returns:
            The reservation, to be settled whatever becomes of the call; or why the backend must
            not be asked, in a few words for the trail.
        """
        price = self._prices.get(name, FREE)
        if name not in self._paid:
            return Reservation(name, 0.0, FREE, 0, 0, cost=0.0)
        if self._off:
            return OFF
        self._roll()
        sums = self._sums_of(turn, name)
        if price is None:
            if any(one.ceiling is not None for one in sums):
                self._complain(name)
                return "its price is not known, and there is a ceiling"
            price = FREE
        read = estimate(request.messages, self._chars[name])
        max_tokens = (request.sampling.max_tokens or turn.tier.max_tokens) + self._thinking[name]
        usd = price.cost(read, max_tokens)
        for one in sums:
            if usd and not one.has_room(usd):
                tell_reached(one, usd)
                return f"{ceiling_of(one)} leaves no room for it"
        for one in sums:
            one.held += usd
            # Those without a ceiling too: whoever reads the sums expects that they add up. But a
            # session's id resumes it: nobody else gets to know it.
            if self._sharing is not None and one.kind != "session" and self._is_shared(one):
                self._sharing.refresh(one)
        tier = turn.tier_name if turn.tier_name in self._tiers else "other"
        return Reservation(name, usd, price, read, max_tokens, tier, sums)

    def settle(
        self,
        reservation: Reservation,
        prompt_tokens: int | None,
        completion_tokens: int | None,
        cached_tokens: int | None = None,
    ) -> float:
        """Count what a call really cost; a second time changes nothing.

        Args:
            reservation: From `reserve`.
            prompt_tokens: Tokens of the prompt; None takes the estimate. 0, with no completion,
                is a call that was never made.
            completion_tokens: Tokens of the reply; None takes the most it could have been.
            cached_tokens: Those of the prompt tokens that the provider had in its cache.

        Returns:
            What it cost, in US dollars.
        """
        if reservation.cost is not None:
            return reservation.cost
        cost = reservation.cost = reservation.price.cost(
            reservation.prompt_tokens if prompt_tokens is None else prompt_tokens,
            reservation.max_tokens if completion_tokens is None else completion_tokens,
            cached_tokens or 0,
        )
        for one in reservation.sums:
            # What floating-point numbers leave over must not become a debt.
            one.held = max(0.0, one.held - reservation.usd)
            if not cost:
                continue
            one.spent += cost
            if one.kind != "session":
                one.unpushed += cost
                self._share(one)
            tell_near(one)
        if cost:
            which = reservation.backend, reservation.tier
            self.costs[which] = self.costs.get(which, 0.0) + cost
            if self._book is not None:
                self._book.changed(reservation.sums)
        return cost

    def refresh(self) -> None:
        """Ask soon what other gateways have spent; without a shared store it does nothing."""
        if self._sharing is not None:
            self._roll()
            for one in (self._sums.get("all", ceiling=self._spend.usd_per_day), *self._sums.few()):
                self._sharing.push(one)

    def spent(self) -> dict[str, dict[str, float]]:
        """Return what was spent today, in US dollars, by kind (`all`, `tier`, ...) and name."""
        self._roll()
        found: dict[str, dict[str, float]] = {}
        for one in self._sums.of_today():
            if one.spent:
                found.setdefault(one.kind, {})[one.name] = one.spent
        return found

    def _share(self, one: Sum) -> None:
        """Tell other gateways of a sum soon, unless nobody would ask for it."""
        if self._sharing is not None and self._is_shared(one):
            self._sharing.push(one)

    def _is_shared(self, one: Sum) -> bool:
        return one.kind != "player" or self._spend.usd_per_player_day is not None

    def _roll(self) -> None:
        """Begin a new day where midnight has passed; calls under way count for the old one."""
        day = int(self._clock() // DAY_S)
        if day != self._sums.day:
            self._sums.begin(day)

    def _sums_of(self, turn: Turn, name: str) -> tuple[Sum, ...]:
        spend, get = self._spend, self._sums.get
        sums = [
            get("all", ceiling=spend.usd_per_day),
            get("tier", turn.tier_name, turn.tier.usd_per_day),
            get("backend", name),
        ]
        if turn.player is not None:
            # Engines number players by themselves: the same id in two games is two players.
            player = f"{turn.game}/{turn.player.id}"
            sums.append(get("player", player, spend.usd_per_player_day))
        if turn.session is not None and spend.usd_per_session is not None:
            sums.append(get("session", turn.session, spend.usd_per_session))
        return tuple(sums)

    def _complain(self, name: str) -> None:
        if name not in self._unpriced:
            self._unpriced.add(name)
            log.error(
                "backend %s costs money, but its price is not known, so it is not asked while "
                "there is a ceiling; set usd_per_m_prompt and usd_per_m_completion in "
                "[backends.%s]",
                name,
                name,
            )
