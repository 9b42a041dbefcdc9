"""Palaver gives the characters of a game a voice."""

from palaver._version import __version__

__all__ = ["__version__"]
