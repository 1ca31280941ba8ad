"""Hostile inputs at every boundary: words, no traceback, no hang, no file touched elsewhere.

    python -m benchmarks.hostile [--seed N] [--inputs N] [NAME ...]

Each module of `benchmarks.hostile.boundaries` is a boundary: what comes in there, and who takes it
in.

    def inputs(draw: random.Random) -> Iterator[Given]
        # Hostile inputs without end, the same for the same draws.

    @contextmanager
    def receiver(folder: Path) -> Iterator[Callable[[Given], None]]
        # Gives an input to the product's own code. It may write below `folder`. It raises what it
        # raises; `LlmpiError` is words. An `AssertionError` says that the product let one through.

    REFUSALS: tuple[type[BaseException], ...]   # beside LlmpiError, what is words there
    PATIENCE_S: float                           # for one input; 60 by default

A boundary runs in a process of its own (`benchmarks.hostile.attempts`), which is killed and begun
again behind an input that hangs or kills it. Files are watched from inside, by Python's audit hook
(what is written, made, moved, linked or removed outside of `folder`), and from outside, by a
folder beside `folder` whose files must stay as they are.
"""
