"""LoRA adapters: manifests, registry, training and evaluation."""

__version__ = "0.1.0"
