"""The tiny model's tokenizer: byte-level BPE, so that any text can be written, and a chat template.

A message is `<|role|>`, its content and `<|end|>`, in any order of roles. The template knows
`add_generation_prompt`; with it off, a server can go on with the last message
(`continue_final_message`), since nothing but `<|end|>` follows its content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

__all__ = ["CHAT_TEMPLATE", "encode_chat", "train_tokenizer"]

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("system", "user", "assistant")

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def train_tokenizer(
    texts: Iterable[str], *, vocabulary: int, context: int
) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE.

    Args:
        texts: What it shall be good at.
        vocabulary: Number of tokens, with the 256 bytes and the 5 special ones.
        context: Longest prompt and reply together, in tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, END, *(f"<|{role}|>" for role in ROLES)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=special[2:],
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def encode_chat(tokenizer: Any, messages: Sequence[tuple[str, str]]) -> tuple[list[int], list[int]]:
    """Turn a chat into token ids and labels; only what the assistant says is a label.

    Ids are put together by hand rather than by the template, because the labels have to know
    where each message begins; a test holds the two against each other.
    """
    end = tokenizer.convert_tokens_to_ids(END)
    ids: list[int] = []
    labels: list[int] = []
    for role, content in messages:
        body = [*tokenizer.encode(content, add_special_tokens=False), end]
        ids += [tokenizer.convert_tokens_to_ids(f"<|{role}|>"), *body]
        labels += [-100, *(body if role == "assistant" else [-100] * len(body))]
    return ids, labels
