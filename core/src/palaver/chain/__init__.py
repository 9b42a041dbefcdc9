"""The chain: which backends are asked, in which order and for how long, until one has spoken."""
