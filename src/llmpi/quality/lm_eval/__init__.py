"""Tasks of the lm-evaluation-harness."""
