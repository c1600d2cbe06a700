"""Bisection and diameter of a fabric."""
