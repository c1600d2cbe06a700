"""LoRA, pruning, low rank, distillation, optimizers."""
