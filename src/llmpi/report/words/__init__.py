"""Sentences from facts, in English and Japanese."""
