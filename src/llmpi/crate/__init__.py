"""A study as one file: raw records, config and hashes, from which everything else is recomputed."""
