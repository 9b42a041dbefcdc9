"""The key of a backend: from the environment only, sent to its server only, shown to nobody."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Key"]


class Key:
    """A key, or why there is none.

    Args:
        env: The variable that holds it; None for a server that needs none.
        environ: The environment.

    Attributes:
        env: The variable, or None.
        problem: Why it cannot be used and what to do, or None.
    """

    __slots__ = ("_value", "env", "problem")

    def __init__(self, env: str | None, environ: Mapping[str, str]) -> None:
        self.env = env
        self._value: str | None = None
        self.problem: str | None = None
        if env is None:
            return
        # Files of variables often end their lines with what is no part of the key.
        value = environ.get(env, "").strip()
        if not value:
            self.problem = f"the variable {env} with its key is not set; set it and start again"
        elif not (value.isascii() and value.isprintable()):
            self.problem = f"the variable {env} holds what cannot be a key; set it and start again"
        else:
            self._value = value

    def __repr__(self) -> str:
        return f"Key({self.env!r})"

    def reveal(self) -> str | None:
        """Return the key itself, for the header of a request and nothing else."""
        return self._value

    def hide(self, text: str) -> str:
        """Return a text without the key; some servers repeat what they were sent."""
        return text.replace(self._value, "***") if self._value else text
