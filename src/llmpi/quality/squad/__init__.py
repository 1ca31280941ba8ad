"""Questions on passages, scored as SQuAD v2 is."""
