"""Ours against a peer in one run: `python -m benchmarks.NAME`, ending in `name: value` lines."""
