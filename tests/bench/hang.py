"""How long players wait while the first backend hangs: with hedge budget, and with none left.

    python tests/bench/hang.py [--turns 200] [--at-once 10] [--json]

The first backend takes every request and never answers; its breaker never opens, or nobody would
ask it. The second one's usual first token is measured beside it, in a chain of its own.
"""

from __future__ import annotations

import argparse
import json

from chains import first_texts, percentile, run, stage

from palaver.testing.faults import FaultServer

FIRST_TOKEN_MS = 350
"""The first's limit, as in the shipped tier `elite`."""
SECOND_MS = 200
FIRST_TEXT_MS = 1_500


async def measure(turns: int, at_once: int, share: float) -> dict[str, float]:
    """Return the figures for a hedge budget.

    Args:
        turns: How many turns.
        at_once: How many of them at the same time.
        share: Share of turns that may be hedged.
    """
    limits = {
        "first_text_ms": FIRST_TEXT_MS,
        "first_token_ms": {"first": FIRST_TOKEN_MS, "second": 10_000},
        "total_ms": 30_000,
    }
    tiers = {
        "usual": {"chain": ["second"], **limits},
        "hanging": {"chain": ["first", "second"], **limits},
    }
    servers = {
        "first": FaultServer(script=["hangs after headers"]),
        "second": FaultServer(first_s=SECOND_MS / 1000),
    }
    more = {"limits.hedge_share": share}
    async with stage(servers, tiers, **more) as engine:
        await first_texts(engine, "usual", at_once, at_once)  # warms up
        usual = await first_texts(engine, "usual", turns // 2, at_once)
        hanging = await first_texts(engine, "hanging", turns, at_once)
    second = percentile(usual, 0.5)
    return {
        "second_p50_ms": second,
        "p50_ms": percentile(hanging, 0.5),
        "p99_ms": percentile(hanging, 0.99),
        "bound_ms": FIRST_TOKEN_MS + 1.2 * second,
    }


async def compare(turns: int, at_once: int, *, as_json: bool) -> None:
    """Measure both, and print the figures."""
    budget = await measure(turns, at_once, 1.0)
    spent = await measure(turns, at_once, 0.0)
    if as_json:
        print(json.dumps({"budget": budget, "spent": spent}))
        return
    print(f"first text while the first backend hangs, {turns} turns, {at_once} at once")
    for name, one in (("hedge budget lasts", budget), ("no hedge budget", spent)):
        print(
            f"  {name:18}  p50 {one['p50_ms']:7.1f} ms   p99 {one['p99_ms']:7.1f} ms   "
            f"(the second's usual: {one['second_p50_ms']:.1f} ms)"
        )
    print(f"  wanted with budget: p99 below {budget['bound_ms']:.0f} ms")
    print(f"  wanted without:     p99 below {FIRST_TEXT_MS} ms, the turn's limit")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    run(compare(options.turns, options.at_once, as_json=options.json))
