"""LoRA adapters with PEFT, in the shape that vLLM loads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

__all__ = ["RANK", "add_lora", "save_lora", "write_manifest"]

RANK = 16
ALPHA = 32
TARGETS = ("q_proj", "v_proj", "o_proj")


def add_lora(model: Any) -> Any:
    """Wrap a base model; afterwards only the adapter's weights are trained."""
    return get_peft_model(
        model,
        LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(TARGETS), task_type="CAUSAL_LM"),
    )


def save_lora(model: Any, folder: Path, *, base: str) -> None:
    """Write an adapter in bfloat16.

    Args:
        model: What `add_lora` returned.
        folder: Where `adapter_config.json` and `adapter_model.safetensors` go.
        base: What the adapter's configuration says that it belongs to.
    """
    # Otherwise PEFT writes down the folder that the base was loaded from on this machine.
    model.peft_config["default"].base_model_name_or_path = base
    # PEFT would look the base's embeddings up on the network, to see whether they were changed.
    model.to(torch.bfloat16).save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def write_manifest(path: Path, *, name: str, version: str, base: str, folder: Path) -> None:
    """Write the manifest by which a world names an adapter.

    Args:
        path: The TOML file.
        name: Such as `vampire`.
        version: Such as `1`; other weights need another version.
        base: Name of the base model.
        folder: The adapter's folder, beside the manifest's.
    """
    weights = (folder / "adapter_model.safetensors").read_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'name = "{name}"\n'
        f'version = "{version}"\n'
        f'base = "{base}"\n'
        f'path = "../{folder.name}"\n'
        f"rank = {RANK}\n"
        f'sha256 = "{hashlib.sha256(weights).hexdigest()}"\n',
        encoding="utf-8",
    )
