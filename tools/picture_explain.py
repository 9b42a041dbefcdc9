"""Makes docs/images/explain.svg: the timeline of a turn in which nearly everything goes wrong.

    python tools/picture_explain.py            write it
    python tools/picture_explain.py --text     only show what it would show

Runs a real server with the real chain over three backends that play a script: the first is slow,
the second dies in the middle of its sentence, the third ends it. Then asks the server what became
of the turn, as `palaver explain` does. Times differ by some milliseconds each time.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pictures import save
from rich.console import Console
from rich.text import Text
from workspace import ROOT

from palaver.chain.backend import Finish
from palaver.cli.explaining import turns_of_server
from palaver.cli.timeline import legend, timeline
from palaver.errors import StreamBroken
from palaver.testing.scripted import Pause, ScriptedBackend, scripted_type
from palaver.testing.server import running_server, write_world

PICTURE = ROOT / "docs" / "images" / "explain.svg"
COLUMNS = 88
COMMAND = "palaver explain"
CUT = StreamBroken("fast", "closed the connection in the middle of its reply")
LAST_USE = Finish(model="large-1", prompt_tokens=212, completion_tokens=9)


def backends() -> list[ScriptedBackend]:
    """Returns the three; a pause of one unit is ten milliseconds."""
    slow = ScriptedBackend("local", [Pause(400), "Too late."])
    dies = ScriptedBackend(
        "fast",
        [Pause(35), "You came back. ", Pause(25), "I had", Pause(30), CUT],
    )
    ends = ScriptedBackend(
        "premium",
        [Pause(40), "Sit down, ", Pause(30), "the night ", Pause(30), "is long.", LAST_USE],
    )
    return [slow, dies, ends]


SETTINGS = {
    **{f"backends.{name}.type": "three" for name in ("local", "fast", "premium")},
    "backends.fast.usd_per_m_prompt": 0.15,
    "backends.fast.usd_per_m_completion": 0.6,
    "backends.premium.usd_per_m_prompt": 3.0,
    "backends.premium.usd_per_m_completion": 15.0,
    "tiers.elite.chain": ["local", "fast", "premium"],
    "tiers.elite.first_text_ms": 1_500,
    "tiers.elite.first_token_ms": {"local": 350, "fast": 900, "premium": 1_200},
}


async def drawn() -> Text:
    """Runs the turn and returns what the terminal shows of it."""
    with tempfile.TemporaryDirectory() as folder:
        world = write_world(Path(folder) / "world")
        kind = scripted_type(backends(), name="three")
        async with running_server(world, overrides=SETTINGS, backend_types=[kind]) as palaver:
            await palaver.gateway.ask("Good evening.", persona="vampire", player="ada", turn="t17")
            turns = await turns_of_server(palaver.http_url, None, None, 1)
    text = Text.assemble(("$ ", "bold"), COMMAND, "\n", timeline(turns[0], width=COLUMNS))
    return text.append(f"\n\n{legend()}", style="dim")


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the picture; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", action="store_true", help="write nothing; show it here")
    parser.add_argument("--out", type=Path, default=PICTURE, help="where to write it")
    args = parser.parse_args(argv)
    text = asyncio.run(drawn())
    if args.text:
        Console(highlight=False, width=COLUMNS).print(text)
        return 0
    save(text, args.out, title=COMMAND, columns=COLUMNS)
    print(f"wrote {args.out.relative_to(ROOT) if args.out.is_relative_to(ROOT) else args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
