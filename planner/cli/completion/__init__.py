"""Completion, manual pages."""
