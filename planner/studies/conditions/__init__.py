"""What a plan has to meet, as an expression over its figures: read, checked for units, held against a plan."""
