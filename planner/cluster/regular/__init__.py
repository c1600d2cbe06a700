"""Clusters described level by level."""
