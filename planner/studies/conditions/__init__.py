"""Requirements: conditions on the figures of a plan, parsed, checked for units and evaluated."""
