"""Adapter manifests: `adapters/NAME@VERSION.toml` in a world's folder.

A manifest says which base model a LoRA was trained on and where its files are. Names and versions
never change their meaning: a model server's prefix cache is keyed by them.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palaver.config.toml_lines import TomlLines, toml_problem
from palaver.errors import ManifestError
from palaver.explain import explain
from palaver.prompt.library import read_text

__all__ = ["AdapterManifest", "check_weights", "read_manifest"]

MAX_MANIFEST_BYTES = 16_000
"""Largest manifest, in bytes."""
WEIGHTS = "adapter_model.safetensors"
"""The file that `sha256` is of."""


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


def read_manifest(file: Path, *, folder: Path) -> AdapterManifest:
    """Read a manifest; `path` in it becomes absolute or relative to where `folder` is.

    Args:
        file: The manifest.
        folder: The world's folder, in which it must lie.

    Raises:
        ManifestError: It is no TOML, a key is wrong, or it has another name than its file.
        WorldError: The file cannot be read.
    """
    text = read_text(file, inside=folder, max_bytes=MAX_MANIFEST_BYTES)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        problem, line = toml_problem(err, text)
        raise ManifestError(problem, file=file, line=line) from err
    try:
        manifest = AdapterManifest.model_validate(data)
    except ValidationError as err:
        lines = TomlLines(text)
        errors = [
            ManifestError(f"`{found.key}`: {found.message}", file=file, line=lines.find(found.path))
            for found in explain(err, AdapterManifest, noun="key")
        ]
        errors[0].others = tuple(errors[1:])
        raise errors[0] from err
    if file.stem != manifest.id:
        raise ManifestError(
            f"is about {manifest.id!r}; call the file {manifest.id}.toml, or change `name` and "
            "`version`",
            file=file,
        )
    return manifest.model_copy(update={"path": file.parent / manifest.path})


def check_weights(manifest: AdapterManifest, file: Path) -> None:
    """Check that an adapter's weights are there, and are those it was made for.

    Reads the whole file where the manifest has a hash: for `palaver check`, not for loading.

    Args:
        manifest: The manifest, as `read_manifest` returned it.
        file: Its file, for errors.

    Raises:
        ManifestError: They are missing or others.
    """
    weights = manifest.path / WEIGHTS
    if not weights.is_file():
        raise ManifestError(f"there is no {weights}; put the weights there", file=file)
    if manifest.sha256 is None:
        return
    with weights.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != manifest.sha256:
        raise ManifestError(
            f"{weights} has the SHA-256 {found}; give changed weights a new version, never the "
            "old name",
            file=file,
        )
