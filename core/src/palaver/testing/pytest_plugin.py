"""Fixtures for everybody who tests a plugin, a bridge or a game.

Loaded by pytest through the entry point `pytest11`, in every test run where `palaver` is
installed, so everything else is imported inside the fixtures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from palaver.testing.scripted import ScriptedBackend

__all__ = ["scripted_backend"]

# The contract asserts in our own module; this makes its failures as readable as a test's.
pytest.register_assert_rewrite("palaver.testing.contract")


@pytest.fixture
def scripted_backend() -> ScriptedBackend:
    """A backend that plays the scripts in `scripted_backend.replies`."""
    from palaver.testing.scripted import ScriptedBackend

    return ScriptedBackend()
