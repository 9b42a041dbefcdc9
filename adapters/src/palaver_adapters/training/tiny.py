"""Train the tiny model of the tests: a base without a voice, and an adapter for each of two.

    python -m palaver_adapters.training.tiny --lines DIR --out DIR

Takes a few minutes on two cores. The result is repeatable on one kind of processor with the same
versions of torch and transformers; elsewhere it differs in the last bits and so in its words.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from palaver_adapters.training.data import ChatMaker, digest, is_held_out, read_lines, read_prose
from palaver_adapters.training.texts import STORY, UTTERANCES, persona_sentence

__all__ = ["main", "make_tiny"]

log = logging.getLogger(__name__)

BASE_STEPS, BASE_RATE = 900, 5e-3
ADAPTER_STEPS, ADAPTER_RATE = 200, 4e-3


def make_tiny(
    lines_in: Sequence[Path],
    out: Path,
    *,
    prose_in: Sequence[Path] = (),
    personas: Sequence[str] = ("vampire", "zombie"),
    seed: int = 7,
    threads: int = 2,
    scale: float = 1.0,
) -> dict[str, object]:
    """Train base and adapters and write them below a folder.

    Writes `base/`, `<persona>@1/`, `adapters/<persona>@1.toml` and `recipe.json`.

    Args:
        lines_in: Folders of authored lines (`<persona>.csv`).
        out: Where to write; made if it is missing.
        prose_in: Folders of persona files; their sentences, shuffled, fill the system prompts.
        personas: Whose voices become adapters.
        seed: Of everything that is drawn.
        threads: Of torch; part of what makes a run repeatable.
        scale: Factor on the number of steps; tests use a small one.

    Returns:
        What `recipe.json` holds.
    """
    # Threads that spin while they wait take the processor from those that they wait for. OpenMP
    # reads this once, when torch is imported: here, not above, so that `--help` works without.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from palaver_adapters.training import loop, lora
    from palaver_adapters.training import model as models
    from palaver_adapters.training import tokenizer as tokenizers

    began = time.monotonic()
    lines = read_lines(lines_in)
    prose = read_prose(prose_in)
    known = [line for line in lines if not is_held_out(line.id)]
    log.info("%d lines, %d of them held out", len(lines), len(lines) - len(known))

    loop.seed_everything(seed, threads=threads)
    rng = Random(seed)
    sentences = [persona_sentence(rng) for _ in range(500)]
    spoken = [text for texts in UTTERANCES.values() for text in texts] + list(STORY)
    tokenizer = tokenizers.train_tokenizer(
        [*(line.text for line in known), *spoken, *sentences, *prose],
        vocabulary=models.VOCABULARY,
        context=models.CONTEXT,
    )
    base = models.build_model(tokenizer)
    losses: dict[str, float] = {}

    maker = ChatMaker(known, prose, seed=seed)
    losses["base"] = loop.train(
        base,
        tokenizer,
        lambda long: maker.chat(long=long),
        loop.Schedule(max(1, round(BASE_STEPS * scale)), BASE_RATE),
    )
    models.save_model(base, tokenizer, out / "base")

    for persona in personas:
        own = [line for line in known if line.persona == persona]
        if not own:
            raise ValueError(f"no lines for {persona!r}: is there a {persona}.csv?")
        chats = ChatMaker(own, prose, seed=seed + 1)
        adapted = lora.add_lora(models.load_model(out / "base"))
        losses[f"{persona}@1"] = loop.train(
            adapted,
            tokenizer,
            lambda long, chats=chats: chats.chat(long=long),  # type: ignore[misc]
            loop.Schedule(max(1, round(ADAPTER_STEPS * scale)), ADAPTER_RATE),
        )
        folder = out / f"{persona}@1"
        lora.save_lora(adapted, folder, base="tiny")
        lora.write_manifest(
            out / "adapters" / f"{persona}@1.toml",
            name=persona,
            version="1",
            base="tiny",
            folder=folder,
        )

    recipe: dict[str, object] = {
        "seed": seed,
        "threads": threads,
        "scale": scale,
        "lines": len(lines),
        "lines_sha256": digest(lines),
        "held_out": sorted(line.id for line in lines if is_held_out(line.id)),
        "losses": {name: round(loss, 3) for name, loss in losses.items()},
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    (out / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")
    return recipe


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the recipe from the command line."""
    parser = argparse.ArgumentParser(prog="palaver_adapters.training.tiny", description=__doc__)
    parser.add_argument("--lines", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--prose", type=Path, nargs="*", default=[], metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the steps")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = make_tiny(
        given.lines,
        given.out,
        prose_in=given.prose,
        seed=given.seed,
        threads=given.threads,
        scale=given.scale,
    )
    log.info("done in %s minutes: %s", recipe["minutes"], given.out)


if __name__ == "__main__":
    main()
