"""From scores of channels to the channels and blocks that stay. Scores of trained weights are worked out elsewhere."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph
from secateur.core.graph.blocks import Block
from secateur.core.graph.indices import channel_origins

Scores = Mapping[str, Sequence[float]]
"""One score per channel, by channel group; the higher, the more the network needs the channel."""


def random_scores(graph: LayerGraph, groups: Iterable[str], seed: int) -> dict[str, tuple[float, ...]]:
    """Returns scores that say nothing, drawn from [0, 1). Those of a group do not depend on what else is scored.

    Args:
        graph: The unpruned network.
        groups: Names of channel groups; a group is named after its first producer.
        seed: Seed of the draws.
    """
    return {name: _draws(f"{seed}:{name}", graph[name].output_shape[-1]) for name in groups}


def check_scales(graph: LayerGraph, groups: Iterable[str]) -> None:
    """Checks that every channel of some groups is followed by a batch normalisation with a scale that it can be judged by.

    Args:
        graph: The unpruned network.
        groups: Names of channel groups.

    Raises:
        InvalidArgument: CRITERION_UNSUITABLE, naming the first group with a channel that is not.
    """
    origins = channel_origins(graph)
    scaled = {
        origin
        for layer in graph
        if layer.op == "BatchNormalization" and layer.config["scale"]
        for origin in origins[layer.name]
    }
    for name in groups:
        if not scaled.issuperset((name, channel) for channel in range(graph[name].output_shape[-1])):
            raise InvalidArgument(
                "CRITERION_UNSUITABLE",
                f"Channels can be told apart by batch normalisation only where one with a scale follows; choose another "
                f"criterion. Received: {name!r}, after which there is none",
                field=name[:128],
            )


def kept_channels(scores: Scores, widths: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Returns the channels with the highest scores of every group, ascending; of equals, the first stay.

    Args:
        scores: Scores of at least the groups in `widths`.
        widths: How many channels of each group stay.

    Raises:
        InvalidArgument: SCORES_MISSING, if a group has no scores or fewer than the channels it keeps.
    """
    return {group: _best(_of(scores, group, width), width) for group, width in widths.items()}


def block_scores(blocks: Sequence[Block], scores: Scores, widths: Mapping[str, int] | None = None) -> dict[str, float]:
    """Returns the mean score of the channels that each block has to itself.

    It is the mean, not the sum, which would favour wide stages. Blocks without a group of their own have no score.

    Args:
        blocks: Blocks to score.
        scores: Scores of their groups. Groups without scores, which may not be cut, do not count.
        widths: Channels of each group that stay, so that only those count; None counts all.
    """
    found = {}
    for block in blocks:
        channels = [
            score
            for group in block.groups
            if group in scores
            for score in sorted(scores[group], reverse=True)[: widths.get(group) if widths is not None else None]
        ]
        if channels:
            found[block.name] = fmean(channels)
    return found


def _draws(seed: str, number: int) -> tuple[float, ...]:
    draw = random.Random(seed)  # noqa: S311  reproducible, not secret
    return tuple(draw.random() for _ in range(number))


def _best(scores: Sequence[float], width: int) -> tuple[int, ...]:
    ranking = sorted(range(len(scores)), key=lambda channel: (-scores[channel], channel))
    return tuple(sorted(ranking[:width]))


def _of(scores: Scores, group: str, width: int) -> Sequence[float]:
    found = scores.get(group, ())
    if len(found) < width:
        raise InvalidArgument(
            "SCORES_MISSING",
            f"Every group that is cut needs one score per channel. Received: {len(found)} scores for {group!r}, "
            f"which keeps {width} channels",
            field=group[:128],
        )
    return found
