"""What is said of a comparison, in each language."""
