"""How a measurement says how far it is."""

import sys


def say(text: str) -> None:
    """A line for the person who waits; the engine's own lines lack the prefix."""
    print(f"llmpi: {text}", file=sys.stderr, flush=True)
