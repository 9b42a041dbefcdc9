"""The tiny Llama: under 3 million parameters, long context, an ordinary architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

__all__ = ["CONTEXT", "VOCABULARY", "build_model", "load_model", "save_model"]

VOCABULARY = 1024
CONTEXT = 4096


def build_model(tokenizer: Any) -> LlamaForCausalLM:
    """Make an untrained model for a tokenizer; its weights come from torch's generator."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the model in bfloat16 with its tokenizer and sampling defaults."""
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.8,
        top_p=0.95,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load_model(folder: Path) -> Any:
    """Load a saved model in float32, rounded as it was saved, to train an adapter on it."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
