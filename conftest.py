"""Settings for the tests of all members."""

from hypothesis import HealthCheck, settings

# A plain run tries the same hundred examples each time, however long the machine takes over them:
# that it fails shall say something of the change that was made, and nothing of luck or load.
settings.register_profile(
    "palaver",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# `tox -e soak` looks for more.
settings.register_profile(
    "soak",
    max_examples=20_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("palaver")
