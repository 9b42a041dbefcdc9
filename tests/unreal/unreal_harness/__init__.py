"""Helpers for the tests of the Unreal bridge."""
