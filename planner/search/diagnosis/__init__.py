"""Why no plan is left: conflicting options, what does not fit."""
