"""Groups of a mix that are divided further: where it pays, and never finer than the data can tell.

A group that is held to lose much in the first choice is tried in two halves, by its layers, each
alone in the type that the group was probed with. Where a byte of one half is worth more than one
of the other, beyond what the windows of the text leave uncertain, each half gets a type of its own,
and is tried in halves in turn, down to single layers. Else they stay together: the choice would
follow noise.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from llmpi import needs
from llmpi.gguf.mix.groups import LAYER, Group, aligned, bytes_of
from llmpi.gguf.mix.probe import Divergences, Types
from llmpi.gguf.records import MixSplit
from llmpi.quant_types import TensorType

LARGE = 0.05
"""Of all that the first choice is held to lose; a group that loses less is not worth its probes."""
TELLING = 3.0
"""Standard errors, paired over windows, that halves differ by at least: of a normal difference of
eight windows one in fifty goes so far by chance."""
MB = 1e6


class Divided(NamedTuple):
    groups: list[Group]
    splits: list[MixSplit]
    """What was tried, in order."""


def divided(
    groups: Sequence[Group],
    worth: Mapping[str, float],
    anchors: Mapping[str, TensorType],
    shapes: Mapping[str, tuple[int, ...]],
    probed: Callable[[Types], Divergences],
    offer: Callable[[Sequence[Group]], None],
) -> Divided:
    """
    Args:
        worth: nats that each group is held to lose.
        anchors: the type that each was probed with.
        shapes: of the tensors.
        offer: told of groups that will be asked for.
    """
    found, splits = {group.name: [group] for group in groups}, list[MixSplit]()
    open_ = {group.name: group for group in groups}
    left, kinds, total = dict(worth), dict(anchors), sum(worth.values())
    parent = {group.name: group.name for group in groups}
    while open_ and len(splits) < needs.MIX_SPLITS:
        name = max(open_, key=left.__getitem__)
        group = open_.pop(name)
        if left[name] < LARGE * total:
            break
        if (two := halves(group, shapes)) is None:
            continue
        offer(two)
        kind = kinds[name]
        seen = [probed({half.name: kind}) for half in two]
        split = _compared(group, two, kind, seen)
        splits.append(split)
        if split["kept"]:
            root = found[parent[name]]
            at = root.index(group)
            root[at : at + 1] = two
            sums = [max(float(each.mean()), 0.0) for each in seen]
            for half, share in zip(two, sums, strict=True):
                left[half.name] = left[name] * share / (sum(sums) or 1.0)
                kinds[half.name], parent[half.name] = kind, parent[name]
                open_[half.name] = half
    return Divided([one for group in groups for one in found[group.name]], splits)


def _compared(
    group: Group, two: tuple[Group, Group], kind: TensorType, seen: Sequence[Divergences]
) -> MixSplit:
    per_mb = [each / (half.bytes[kind] / MB) for half, each in zip(two, seen, strict=True)]
    differ = per_mb[0] - per_mb[1]
    noise = float(differ.std(ddof=1) / math.sqrt(differ.size))
    return {
        "group": group.name,
        "into": [half.name for half in two],
        "type": kind,
        "nats_per_mb": [float(np.mean(each)) for each in per_mb],
        "standard_error": noise,
        "kept": bool(abs(float(differ.mean())) > TELLING * noise),
    }


def halves(group: Group, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Group, Group] | None:
    """The first and the last layers of a group; None of a single layer, or of what is in none."""
    layers: dict[int, list[str]] = {}
    for tensor in group.tensors:
        if match := LAYER.fullmatch(tensor):
            layers.setdefault(int(match["layer"]), []).append(tensor)
    if len(layers) < 2:
        return None
    order = sorted(layers)
    middle = len(order) // 2
    first, last = (
        _part(group, {layer: layers[layer] for layer in part}, shapes)
        for part in (order[:middle], order[middle:])
    )
    return first, last


def _part(
    group: Group, layers: Mapping[int, Sequence[str]], shapes: Mapping[str, tuple[int, ...]]
) -> Group:
    tensors = [tensor for some in layers.values() for tensor in some]
    counts = [math.prod(shapes[tensor]) for tensor in tensors]
    sizes = {kind: sum(aligned(bytes_of(kind, n)) for n in counts) for kind in group.bytes}
    low, high = min(layers), max(layers)
    span = f"{low}" if low == high else f"{low}-{high}"
    return Group(f"{group.name.partition(',')[0]}, {span}", tuple(tensors), sum(counts), sizes)
