"""llmpi: from a list of LLMs and a list of Raspberry Pis to a decision that can be defended."""

import os

__version__ = "0.1.0"

# Read by numpy's linear algebra as it is loaded: its threads wait asleep for work. By default each
# keeps a processor busy for 2**26 cycles first, in every process that loads numpy, and beside what
# is measured.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
