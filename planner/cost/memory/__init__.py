"""Memory per GPU: what is held at each moment of a step, and the largest of them."""
