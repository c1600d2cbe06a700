"""How far the cost model is from runs that were measured and published."""
