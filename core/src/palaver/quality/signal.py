"""One signal: averages of different speed over the same numbers, and when they part.

An average of the last 100 turns sees a sudden change soon but only a large one; one of the last
5,000 sees a small one late. So there are several, and each is compared with the baseline, which is
slower than all of them. Whether they differ by more than chance is told by how far apart they are
in standard errors, as on a control chart (EWMA chart, Roberts 1959; NIST/SEMATECH e-Handbook
6.3.2.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import asin, isfinite, sqrt
from typing import Any

__all__ = ["SPANS", "Signal"]

SPANS = (100, 1_000, 5_000)
"""Samples that the averages reach back over, roughly; the first is what is shown as `recent`."""
BASELINE = 50_000
"""Samples that the baseline reaches back over: a change that stays is the new normal some day."""
SIGMAS = 4.5
"""Standard errors that averages must be apart: they are compared after every turn, on many
signals, and chance must not raise an alert in months."""
CALM = 0.5
"""Part of the difference that must be gone before an alert is over."""
LEAST_VARIANCE = 0.05
"""A judge who always says the same has no spread; one of a hundred scores stands in for it."""


class Signal:
    """Follows one number per turn.

    Args:
        worse_by: Share of the baseline by which it must be worse.
        least_samples: Samples before there is a baseline.
        higher_is_better: Whether it is a score; else it is a share of bad turns.

    Attributes:
        samples: Numbers so far.
        baseline: The slow average.
        recent: The averages by their spans, fastest first.
        alert: Whether it is worse than its baseline.
    """

    __slots__ = (
        "_least",
        "_sign",
        "_variance",
        "_worse_by",
        "alert",
        "baseline",
        "recent",
        "samples",
    )

    def __init__(
        self, worse_by: float, least_samples: int, *, higher_is_better: bool = False
    ) -> None:
        self._worse_by, self._least = worse_by, least_samples
        self._sign = -1.0 if higher_is_better else 1.0
        self.samples = 0
        self.baseline = 0.0
        self._variance = 0.0
        self.recent = [0.0] * len(SPANS)
        self.alert = False

    @property
    def known(self) -> bool:
        """Whether there are enough samples for a baseline."""
        return self.samples >= self._least

    def add(self, value: float) -> bool:
        """Take a number; returns whether the alert began or ended with it."""
        self.samples += 1
        if not value and not self.baseline:
            # What never happened yet, such as a refusal: all averages stay at nothing.
            return False
        count = self.samples
        recent = self.recent
        for index, span in enumerate(SPANS):
            # A plain mean until there is enough for the average's own weight.
            recent[index] += (value - recent[index]) * max(2.0 / (span + 1), 1.0 / count)
        weight = max(1.0 / BASELINE, 1.0 / count)
        apart = value - self.baseline
        self.baseline += apart * weight
        self._variance = (1.0 - weight) * (self._variance + weight * apart * apart)
        if count < self._least:
            return False
        before = self.alert
        self.alert = self._is_still_worse() if before else self._is_worse()
        return self.alert != before

    @property
    def difference(self) -> tuple[float, float]:
        """The average that alarms most and the baseline, for whoever tells of it."""
        worst = max(self.recent, key=lambda mean: mean * self._sign)
        return worst, self.baseline

    def state(self) -> dict[str, Any]:
        """Return what has to be kept over a restart, as plain data."""
        return {
            "samples": self.samples,
            "baseline": self.baseline,
            "variance": self._variance,
            "recent": list(self.recent),
            "alert": self.alert,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned.

        Raises:
            ValueError: It is something else.
        """
        try:
            samples = int(state["samples"])
            recent = [float(value) for value in state["recent"]]
            numbers = [float(state["baseline"]), float(state["variance"]), *recent]
        except (KeyError, TypeError, OverflowError) as err:
            raise ValueError(f"no state of a signal: {err!r}") from err
        if samples < 0 or len(recent) != len(SPANS) or not all(map(isfinite, numbers)):
            raise ValueError("no state of a signal")
        self.samples, self.recent = samples, recent
        self.baseline, self._variance = numbers[0], max(0.0, numbers[1])
        self.alert = bool(state.get("alert"))

    def _is_worse(self) -> bool:
        """Whether one of the averages is worse by enough, and by more than chance."""
        count, base = self.samples, self.baseline
        for span, mean in zip(SPANS, self.recent, strict=True):
            # The baseline must reach back further than what is compared with it.
            if count < 2 * span:
                return False
            apart = (mean - base) * self._sign
            if apart <= self._worse_by * abs(base):
                continue
            error = sqrt(1.0 / span + 1.0 / min(count, BASELINE))
            if self._spread(mean, base) > SIGMAS * error:
                return True
        return False

    def _spread(self, mean: float, base: float) -> float:
        """Return how far apart two averages are, in standard deviations of one sample."""
        if self._sign < 0:
            return (base - mean) / sqrt(max(self._variance, LEAST_VARIANCE))
        # Shares of rare things are lopsided: the angle of a share is not (Anscombe 1948).
        return 2.0 * (asin(sqrt(_share(mean))) - asin(sqrt(_share(base))))

    def _is_still_worse(self) -> bool:
        """Whether the alert goes on: until every average is near the baseline again."""
        bound = CALM * self._worse_by * abs(self.baseline)
        variance = max(self._variance, 1e-6)
        return any(
            # What is near enough to be chance must not keep an alert for ever.
            (mean - self.baseline) * self._sign > max(bound, sqrt(variance / span))
            for span, mean in zip(SPANS, self.recent, strict=True)
        )


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
