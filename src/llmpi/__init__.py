"""llmpi: from a list of LLMs and a list of Raspberry Pis to a decision that can be defended."""

__version__ = "0.1.0"
