"""The training recipe itself, at a hundredth of its length; needs the extra `train`."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from palaver_adapters.training.data import ChatMaker
from palaver_adapters.training.tiny import main, make_tiny

MISSING = [name for name in ("torch", "transformers", "peft") if find_spec(name) is None]

pytestmark = [
    pytest.mark.train,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        bool(MISSING),
        reason="needs torch, transformers and PEFT: pip install './adapters[train]'",
    ),
    # They warn about each other's coming changes; nothing that a test here could mend.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def made(lines_folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained for a moment."""
    out = tmp_path_factory.mktemp("tiny")
    make_tiny(lines_folders, out, scale=0.01)
    return out


@pytest.fixture(scope="module")
def tokenizer(made: Path) -> Any:
    """Its tokenizer, as anyone loads it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(made / "base")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every weight file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
    }


def test_the_recipe_writes_a_base_two_adapters_and_their_manifests(made: Path) -> None:
    """All that the tests of the vLLM backend need is there after one call."""
    assert sorted(digests(made)) == [
        "base/model.safetensors",
        "vampire@1/adapter_model.safetensors",
        "zombie@1/adapter_model.safetensors",
    ]
    assert sorted(path.name for path in (made / "adapters").iterdir()) == [
        "vampire@1.toml",
        "zombie@1.toml",
    ]
    recipe = json.loads((made / "recipe.json").read_text(encoding="utf-8"))
    assert set(recipe["losses"]) == {"base", "vampire@1", "zombie@1"}


def test_the_recipe_gives_the_same_weights_again(
    made: Path, lines_folders: list[Path], tmp_path: Path
) -> None:
    """Everything is seeded: on one machine, the same lines and seed give the same bytes."""
    lines = [str(folder) for folder in lines_folders]
    main(["--lines", *lines, "--out", str(tmp_path), "--scale", "0.01"])
    assert digests(tmp_path) == digests(made)


def test_a_persona_without_lines_is_an_error(lines_folders: list[Path], tmp_path: Path) -> None:
    """Whose adapter shall be trained must have lines."""
    with pytest.raises(ValueError, match=r"no lines for 'mummy': is there a mummy\.csv"):
        make_tiny(lines_folders, tmp_path, personas=["mummy"], scale=0.001)


def test_labels_are_what_the_assistant_says(tokenizer: Any, authored: list[Any]) -> None:
    """Chats are encoded as the chat template renders them, and only replies are learned."""
    from palaver_adapters.training.tokenizer import encode_chat

    maker = ChatMaker(authored, seed=1)
    for _ in range(20):
        chat = maker.chat()
        ids, labels = encode_chat(tokenizer, chat)
        messages = [{"role": role, "content": content} for role, content in chat]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False)
        assert ids == tokenizer.encode(rendered, add_special_tokens=False)
        learned = tokenizer.decode([label for label in labels if label != -100])
        said = "".join(content + "<|end|>" for role, content in chat if role == "assistant")
        assert learned == said


@pytest.mark.parametrize("text", ["héé", "日本語 💀", "\x00\x7f\t\n", "“quoted” — so…"])
def test_any_text_survives_the_tokenizer(tokenizer: Any, text: str) -> None:
    """Byte-level BPE has no unknown token."""
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
