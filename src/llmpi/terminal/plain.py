"""Where nothing can be drawn: every line by itself, as jobs write theirs."""

import sys
from contextlib import suppress

from llmpi.engine.shown import shown


class PlainView:
    """Jobs write to the same place themselves."""

    def catch_up(self) -> None:
        """There is nothing to hear."""

    def say(self, text: str, style: str = "") -> None:  # noqa: ARG002 - as `LiveView.say`
        with suppress(OSError):  # nobody there any more
            print(shown(text), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is held."""
