"""A stand-in for the game engine and one for Palaver, both in virtual time."""
