"""The same question gives the same bytes: every command in every form, run under one circumstance after another."""
