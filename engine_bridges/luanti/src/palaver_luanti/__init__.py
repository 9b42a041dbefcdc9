"""The bridge to the Luanti engine."""

__version__ = "0.1.0"
