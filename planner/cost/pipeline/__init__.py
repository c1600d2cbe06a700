"""Layers partitioned into chunks and stages, and what each stage has of them."""
