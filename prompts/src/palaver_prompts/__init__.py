"""Base prompt templates and the example worlds."""

__version__ = "0.1.0"
