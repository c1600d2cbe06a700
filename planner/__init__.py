"""Plan distributed training runs of large models."""

__version__ = "0.1.0"
