"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from secateur.client.errors import UsageError
from secateur.client.targets import Budget, Target

_TARGET = "Target"


def _as_json(ctx: typer.Context, value: bool) -> bool:
    ctx.obj.json |= value  # the error boundary is outside the command and has to know
    return value


Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.", callback=_as_json)]

ArchitectureArgument = Annotated[
    str,
    typer.Argument(
        help="Zoo name, path of a .json file with Keras JSON, or projects/.../architectures/...", show_default=False
    ),
]
InputShape = Annotated[str | None, typer.Option(help="Of a zoo name: input, for example 8x8x1.", show_default=False)]
Classes = Annotated[int | None, typer.Option(help="Of a zoo name: number of classes.", show_default=False)]
DatasetOption = Annotated[str, typer.Option(help="Data set, for example digits.", show_default=False)]

Parameters = Annotated[
    str | None, typer.Option(help="Most weights: 50k, or 50% of the unpruned net.", rich_help_panel=_TARGET, show_default=False)
]
Macs = Annotated[
    str | None, typer.Option(help="Most multiply-accumulates: 2M, 50%.", rich_help_panel=_TARGET, show_default=False)
]
Flops = Annotated[str | None, typer.Option(help="Most FLOPs: 4M, 50%.", rich_help_panel=_TARGET, show_default=False)]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Most bytes of weights and feature maps at 32 bit: 1MiB, 50%.", rich_help_panel=_TARGET, show_default=False
    ),
]
Activation = Annotated[
    str | None,
    typer.Option(help="Most bytes of feature maps at 32 bit: 1MiB, 50%.", rich_help_panel=_TARGET, show_default=False),
]
Flash = Annotated[
    str | None, typer.Option(help="Most bytes of the int8 file: 64KiB.", rich_help_panel=_TARGET, show_default=False)
]
Ram = Annotated[str | None, typer.Option(help="Most working memory: 40KiB.", rich_help_panel=_TARGET, show_default=False)]
Latency = Annotated[str | None, typer.Option(help="Longest inference: 20ms.", rich_help_panel=_TARGET, show_default=False)]
Accuracy = Annotated[
    str | None,
    typer.Option(help="Least top-1 accuracy of the int8 file: 95%, 0.95.", rich_help_panel=_TARGET, show_default=False),
]
Profiles = Annotated[
    list[str] | None,
    typer.Option(
        "--profile",
        help="Device profile; given twice, two targets with the same limits.",
        rich_help_panel=_TARGET,
        show_default=False,
    ),
]

Mode = Annotated[
    str,
    typer.Option(
        help="What decides where to cut: device, parameters, flops, memory or activation; or a baseline: uniform or stock."
    ),
]
RoundTo = Annotated[int, typer.Option(help="Kept widths are multiples of this.")]
Seed = Annotated[int, typer.Option(help="Seed of planning and training.")]
Rows = Annotated[int, typer.Option("--limit", min=1, help="Most rows.")]
Timeout = Annotated[str | None, typer.Option(help="Longest wait: 90s, 10m. The job goes on after it.", show_default=False)]


def input_shape(text: str | None) -> tuple[int, int, int] | None:
    """Returns the shape written as "8x8x1".

    Raises:
        UsageError: If it is not three whole numbers.
    """
    if text is None:
        return None
    sizes = text.lower().split("x")
    if len(sizes) != 3 or not all(size.strip().isdecimal() for size in sizes):
        raise UsageError(
            "INPUT_SHAPE_INVALID",
            f"An input shape is height x width x channels, such as 8x8x1. Received: {text!r}",
            field="input_shape",
        )
    height, width, channels = map(int, sizes)
    return height, width, channels


def targets(profiles: Sequence[str] | None, budget: Budget) -> list[Target]:
    """Returns one target per profile, or one without a profile, each with the limits of `budget`.

    Raises:
        UsageError: If there is neither a profile nor a limit.
    """
    limits = vars(budget)
    return [Target(profile, **limits) for profile in profiles or [""]]


def labels(pairs: Sequence[str] | None) -> dict[str, str]:
    """Returns labels written as "key=value".

    Raises:
        UsageError: If one has no "=".
    """
    for pair in pairs or ():
        if "=" not in pair:
            raise UsageError("LABEL_INVALID", f"A label is key=value. Received: {pair!r}", field="labels")
    return dict(pair.split("=", 1) for pair in pairs or ())
