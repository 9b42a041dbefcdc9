"""A backend that speaks authored lines."""

__version__ = "0.1.0"
