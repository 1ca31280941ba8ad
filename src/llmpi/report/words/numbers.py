"""Numbers for people."""

import json


def number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{round(value, digits) + 0.0:,.{digits}f}"  # no -0.0


def grouped(value: object) -> object:
    """A whole number with its thousands told apart; anything else as it is."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


def digits(value: float) -> str:
    """Three of them, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def size(count: float) -> str:
    """Bytes in three digits, in the units that files are sold in: powers of 1000."""
    count = float(f"{count:.3g}")
    return f"{digits(count / 1e9)} GB" if count >= 1e9 else f"{digits(count / 1e6)} MB"


def in_units(value: object, key: str) -> object:
    """A value as people read it, whose key says whether it is of bytes."""
    return size(value) if key.endswith("_bytes") and isinstance(value, int) else grouped(value)


def mb(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:,.1f}"


def pretty(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
