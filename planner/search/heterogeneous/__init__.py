"""The search over two pools of nodes."""
