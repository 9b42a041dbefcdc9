"""Settings: what `palaver.toml`, the environment and flags may say, and how they are read."""
