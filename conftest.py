"""Settings for the tests of all members."""

from hypothesis import settings

# `tox -e soak` runs every property with these many examples instead of a hundred.
settings.register_profile("soak", max_examples=20_000, deadline=None)
