"""The decision: plan, choice, money."""
