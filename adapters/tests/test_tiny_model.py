"""The tiny model that is shipped as test data, looked at without torch."""

from __future__ import annotations

import hashlib
import json
import struct
import tomllib
from pathlib import Path
from typing import Any

import jinja2
import pytest

from palaver_adapters.training.data import Line, is_held_out

ADAPTERS = ("vampire@1", "zombie@1")
LIMIT_BYTES = 8_000_000


def tensors(path: Path) -> dict[str, Any]:
    """Read the header of a safetensors file: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return header


def count(header: dict[str, Any]) -> int:
    """Count the numbers in all tensors."""
    total = 0
    for tensor in header.values():
        size = 1
        for side in tensor["shape"]:
            size *= side
        total += size
    return total


def test_everything_together_is_small(tiny: Path) -> None:
    """The model may be kept in the repository: it is below 8 MB."""
    assert sum(path.stat().st_size for path in tiny.rglob("*") if path.is_file()) < LIMIT_BYTES


def test_the_base_has_two_to_three_million_parameters_in_bfloat16(tiny: Path) -> None:
    """It is a real Llama, only small."""
    header = tensors(tiny / "base/model.safetensors")
    assert {tensor["dtype"] for tensor in header.values()} == {"BF16"}
    assert 2_000_000 < count(header) < 3_000_000
    config = json.loads((tiny / "base/config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["max_position_embeddings"] >= 2048


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_a_lora_of_rank_16_on_q_v_and_o(tiny: Path, name: str) -> None:
    """The server has to be started with `--max-lora-rank 16` and no more."""
    config = json.loads((tiny / name / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (
        16,
        32,
        "tiny",
    )
    header = tensors(tiny / name / "adapter_model.safetensors")
    assert {tensor["dtype"] for tensor in header.values()} == {"BF16"}
    assert {key.split(".")[-3] for key in header} == {"q_proj", "v_proj", "o_proj"}


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_manifest_names_the_weights_that_are_there(tiny: Path, name: str) -> None:
    """The manifest's path leads to the adapter, and its sha256 is that of the weights."""
    path = tiny / "adapters" / f"{name}.toml"
    manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    weights = path.parent / manifest["path"] / "adapter_model.safetensors"
    assert manifest["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert f"{manifest['name']}@{manifest['version']}" == name
    assert (manifest["base"], manifest["rank"]) == ("tiny", 16)


def test_no_file_names_a_folder_of_the_machine_it_was_made_on(tiny: Path) -> None:
    """What is shipped is the same whoever made it."""
    for path in tiny.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert "/tmp" not in text, path
        assert "/home" not in text, path


def test_the_recipe_tells_what_was_held_out(tiny: Path, authored: list[Line]) -> None:
    """No line that the classifier is trained on was seen by the model."""
    recipe = json.loads((tiny / "recipe.json").read_text(encoding="utf-8"))
    assert recipe["held_out"]
    assert all(is_held_out(line_id) for line_id in recipe["held_out"])
    # Lines may be added and edited after the model was made; most of them are those it knows.
    today = {line.id for line in authored if is_held_out(line.id)}
    assert len(today & set(recipe["held_out"])) > len(today) / 2


def render(tiny: Path, messages: list[dict[str, str]], *, prompt: bool) -> str:
    """Render the chat template as a server does."""
    template = (tiny / "base/chat_template.jinja").read_text(encoding="utf-8")
    return jinja2.Template(template).render(messages=messages, add_generation_prompt=prompt)


def test_the_chat_template_takes_any_order_of_roles(tiny: Path) -> None:
    """Facts of the moment may come as a second system message."""
    messages = [
        {"role": "system", "content": "You are old."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hm."},
        {"role": "system", "content": "It rains."},
        {"role": "user", "content": "Bye."},
    ]
    assert render(tiny, messages, prompt=True) == (
        "<|system|>You are old.<|end|><|user|>Hello.<|end|><|assistant|>Hm.<|end|>"
        "<|system|>It rains.<|end|><|user|>Bye.<|end|><|assistant|>"
    )


def test_the_chat_template_can_leave_the_last_message_open(tiny: Path) -> None:
    """With `continue_final_message` a server cuts after the content; only `<|end|>` follows."""
    messages = [{"role": "assistant", "content": "Good evening. You"}]
    rendered = render(tiny, messages, prompt=False)
    assert rendered == "<|assistant|>Good evening. You<|end|>"


def test_the_tokenizer_can_write_every_byte(tiny: Path) -> None:
    """All 256 bytes are tokens, so no name and no emoji is unknown."""
    tokenizer = json.loads((tiny / "base/tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    assert 512 <= len(vocabulary) <= 1500
    assert sum(len(token) == 1 for token in vocabulary) >= 256
    special = {token["content"] for token in tokenizer["added_tokens"]}
    assert {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"} <= special
