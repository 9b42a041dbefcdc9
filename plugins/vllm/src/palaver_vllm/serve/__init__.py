"""Starting a vLLM server for a world, watching it, and taking it down again."""
