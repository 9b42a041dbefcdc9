"""`palaver vllm`: starts and stops a model server for a world."""

from __future__ import annotations

import click

__all__ = ["vllm"]


@click.group()
def vllm() -> None:
    """Start and stop a vLLM model server for a world."""
