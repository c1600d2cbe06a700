"""Trainers that are PyTorch with sharding of its own or of DeepSpeed, and the programs over them."""
