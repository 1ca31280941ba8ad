"""Errors a user can act on: shown without a traceback, in one piece, saying what to do."""


class LlmpiError(Exception):
    """Something outside llmpi's code is wrong; the message names it and what would mend it."""


class CellError(LlmpiError):
    """A cell of the sweep cannot work, whenever it is tried: recorded as its result."""
