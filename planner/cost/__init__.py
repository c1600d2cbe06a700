"""What one training step takes: compute, collectives, pipeline, memory. Every function works on arrays."""
