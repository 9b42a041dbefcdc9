"""Adapter manifests: `adapters/NAME@VERSION.toml` in a world's folder.

A manifest says which base model a LoRA was trained on and where its files are. Names and versions
never change their meaning: a model server's prefix cache is keyed by them.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AdapterManifest"]


class AdapterManifest(BaseModel):
    """One LoRA adapter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="Name, such as `vampire`.")
    version: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Version, such as `1`; never reused."
    )
    base: str = Field(description="Name of the base model it was trained on.")
    path: Path = Field(description="Folder with its weights, relative to the manifest.")
    rank: int = Field(ge=1, le=512, description="LoRA rank.")
    sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of `adapter_model.safetensors`, checked where it is given.",
    )
    description: str = Field(default="", description="What it is for.")
    license: str = Field(default="", description="Licence of the weights, an SPDX name.")

    @property
    def id(self) -> str:
        """`name@version`, as personas and model servers name it."""
        return f"{self.name}@{self.version}"
