"""The search over a heterogeneous cluster of two pools of nodes."""
