"""What a backend that refuses connections costs a turn that another one answers.

    python tests/bench/refused.py [--turns 400] [--json]

Turns with and without it take turns, so that both meet the same noise; its breaker never opens, or
it would cost nothing at all.
"""

from __future__ import annotations

import argparse
import json

from chains import first_texts, percentile, run, stage

from palaver.testing.faults import FaultServer


async def measure(turns: int, *, as_json: bool) -> None:
    """Measure, and print the figures."""
    limits = {"first_text_ms": 20_000, "first_token_ms": 10_000}
    tiers = {
        "alone": {"chain": ["well"], **limits},
        "after": {"chain": ["gone", "well"], **limits},
    }
    servers = {"gone": FaultServer(), "well": FaultServer()}
    took: dict[str, list[float]] = {"alone": [], "after": []}
    async with stage(servers, tiers) as engine:
        await servers["gone"].refuse()
        for name in took:
            await first_texts(engine, name, 20, 1)  # warms up
        for _ in range(turns // 20):
            for name, all_of_it in took.items():
                all_of_it += await first_texts(engine, name, 20, 1)
    figures = {
        name: {"p50_ms": percentile(found, 0.5), "p99_ms": percentile(found, 0.99)}
        for name, found in took.items()
    }
    adds = figures["after"]["p50_ms"] - figures["alone"]["p50_ms"]
    if as_json:
        print(json.dumps({**figures, "adds_p50_ms": adds}))
        return
    print(f"first text, {turns} turns each, one at a time")
    for name, one in figures.items():
        print(f"  {name:6}  p50 {one['p50_ms']:6.2f} ms   p99 {one['p99_ms']:6.2f} ms")
    print(f"  a refused connection adds {adds:.2f} ms (wanted: less than 5 ms)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    run(measure(options.turns, as_json=options.json))
