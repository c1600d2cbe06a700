"""How a plan is told: terminal, JSON and the other forms."""
