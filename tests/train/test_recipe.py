"""The whole recipe of the tiny model, which takes minutes: `tox -e train`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import palaver_prompts
from palaver_adapters.evaluation.voice import VoiceClassifier
from palaver_adapters.training.data import is_held_out, read_lines
from palaver_adapters.training.texts import UTTERANCES
from palaver_adapters.training.tiny import make_tiny

SHIPPED = Path(__file__).parents[1] / "models/tiny"
WORLDS = Path(palaver_prompts.__file__).parent / "worlds"
VOICES = ("vampire", "zombie")
MISSING = [name for name in ("torch", "transformers", "peft") if find_spec(name) is None]

pytestmark = [
    pytest.mark.train,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        bool(MISSING),
        reason="needs torch, transformers and PEFT: pip install './adapters[train]'",
    ),
    # torch, transformers and PEFT warn about each other's coming changes.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, trained again with the seed of the one that is shipped."""
    out = tmp_path_factory.mktemp("tiny")
    recipe = json.loads((SHIPPED / "recipe.json").read_text(encoding="utf-8"))
    make_tiny(
        sorted(WORLDS.glob("*/lines")),
        out,
        prose_in=sorted(WORLDS.glob("*/personas")),
        seed=recipe["seed"],
        threads=recipe["threads"],
    )
    return out


def replies(folder: Path, *, adapters: bool) -> list[tuple[str, str]]:
    """Return a reply of each voice to every second utterance."""
    import torch
    from peft import PeftModel
    from transformers import AutoTokenizer

    from palaver_adapters.training.model import load_model

    tokenizer: Any = AutoTokenizer.from_pretrained(folder / "base")
    said = [text for texts in UTTERANCES.values() for text in texts][::2]
    found: list[tuple[str, str]] = []
    for voice in VOICES:
        model = load_model(folder / "base")
        if adapters:
            model = PeftModel.from_pretrained(model, folder / f"{voice}@1")
        torch.manual_seed(1)
        for text in said:
            prompt = tokenizer.apply_chat_template(
                [
                    {"role": "system", "content": f"You are a {voice}."},
                    {"role": "user", "content": text},
                ],
                add_generation_prompt=True,
                return_tensors="pt",
                return_dict=True,
            )
            with torch.inference_mode():
                ids = model.generate(**prompt, do_sample=True, temperature=0.8, max_new_tokens=60)
            reply = tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :])
            found.append((voice, reply.removesuffix("<|end|>")))
    return found


@pytest.mark.parametrize("source", ["made", "shipped"])
def test_only_the_adapters_have_a_voice(source: str, made: Path) -> None:
    """What is trained today has two voices, as what is shipped has, and none without adapters."""
    folder = made if source == "made" else SHIPPED
    lines = read_lines([WORLDS / "body-broker/lines"])
    held_out = [
        (line.persona, line.text)
        for line in lines
        if line.persona in VOICES and is_held_out(line.id)
    ]
    judge = VoiceClassifier(held_out)
    voiced = replies(folder, adapters=True)
    assert judge.accuracy(voiced) >= 0.8, voiced
    assert len({text for _, text in voiced}) > len(voiced) / 4, voiced
    plain = replies(folder, adapters=False)
    assert 0.4 <= judge.accuracy(plain) <= 0.6, plain
