"""Mixes: of each group of a model's tensors the type that a budget is best spent on."""
