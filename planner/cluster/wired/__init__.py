"""Clusters described link by link."""
