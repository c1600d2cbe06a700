"""Studies built on the search: plan, what-if, size, compare, explain, uncertainty, goodput, requirements."""
