"""MaxText: its record and program, the models that it has."""
