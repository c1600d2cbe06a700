"""What a model is trained on: accelerators, nodes and fabrics, and the communication graph between them."""
