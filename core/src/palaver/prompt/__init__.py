"""The prompt: sections with sources, sandboxed templates, harmless input, and trimming."""
