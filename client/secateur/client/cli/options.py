"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import typer

from secateur.client.datasets import Augmentation
from secateur.client.errors import UsageError
from secateur.client.recipes import Recipe
from secateur.client.targets import Budget, Planning, Target
from secateur.client.values import HybridPolicy, SearchPolicy

_TARGET = "Target"
_PLAN = "Planning"
_TRAIN = "Training"


def _as_json(ctx: typer.Context, value: bool) -> bool:
    ctx.obj.json |= value  # the session, which prints the answers, has to know
    return value


Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.", callback=_as_json)]

DatasetOption = Annotated[
    str, typer.Option(help="Data set, built in or of the project, for example digits.", show_default=False)
]
Seed = Annotated[int, typer.Option(help="Seed of planning and training.")]


def _option(text: str, panel: str = _TARGET) -> Any:
    return typer.Option(help=text, rich_help_panel=panel, show_default=False)


class OfZoo(TypedDict):
    """Arguments that a zoo name needs beside it; None for every other architecture."""

    input_shape: tuple[int, int, int] | None
    classes: int | None


@dataclass(frozen=True, kw_only=True)
class Network:
    """Which architecture, as `Client.upload` takes it."""

    architecture: Annotated[
        str,
        typer.Argument(
            help="Zoo name, path of a .json file with Keras JSON, or projects/.../architectures/...", show_default=False
        ),
    ]
    input_shape: Annotated[str | None, typer.Option(help="Of a zoo name: input, for example 8x8x1.", show_default=False)] = None
    classes: Annotated[int | None, typer.Option(help="Of a zoo name: number of classes.", show_default=False)] = None

    @property
    def of_zoo(self) -> OfZoo:
        """What a zoo name needs beside it: arguments of every call that takes an architecture.

        Raises:
            UsageError: If the shape is not three whole numbers.
        """
        return OfZoo(input_shape=self._shape(), classes=self.classes)

    def _shape(self) -> tuple[int, int, int] | None:
        if self.input_shape is None:
            return None
        try:
            height, width, channels = map(int, self.input_shape.lower().split("x"))
        except ValueError:
            raise UsageError(
                "INPUT_SHAPE_INVALID",
                f"An input shape is height x width x channels, such as 8x8x1. Received: {self.input_shape!r}",
                field="input_shape",
            ) from None
        return height, width, channels


@dataclass(frozen=True, kw_only=True)
class PredictedLimits:
    """Limits that a plan is known to keep before anything is trained."""

    parameters: Annotated[str | None, _option("Most weights: 50k, or 50% of the unpruned net.")] = None
    macs: Annotated[str | None, _option("Most multiply-accumulates: 2M, 50%.")] = None
    flops: Annotated[str | None, _option("Most FLOPs: 4M, 50%.")] = None
    memory: Annotated[str | None, _option("Most bytes of weights and feature maps at 32 bit: 1MiB, 50%.")] = None
    activation: Annotated[str | None, _option("Most bytes of feature maps at 32 bit: 1MiB, 50%.")] = None
    flash: Annotated[str | None, _option("Most bytes of the int8 file: 64KiB.")] = None
    ram: Annotated[str | None, _option("Most working memory: 40KiB.")] = None
    latency: Annotated[str | None, _option("Longest inference: 20ms.")] = None

    def targets(self, profiles: Sequence[str] | None) -> list[Target]:
        """Returns one target per profile, or one without a profile, each with these limits.

        Raises:
            UsageError: If there is neither a profile nor a limit, or a limit cannot be read.
        """
        return [Target(profile, **vars(self)) for profile in profiles or [""]]


@dataclass(frozen=True, kw_only=True)
class Limits(PredictedLimits):
    """Every limit."""

    accuracy: Annotated[str | None, _option("Least top-1 accuracy of the int8 file: 95%, 0.95.")] = None

    @property
    def budget(self) -> Budget:
        """The limits without a profile.

        Raises:
            UsageError: If one cannot be read.
        """
        return Budget(**vars(self))


Profiles = Annotated[
    list[str] | None,
    typer.Option(
        "--profile",
        help="Device profile, built in or of the project; given twice, two targets with the same limits.",
        rich_help_panel=_TARGET,
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class Plans:
    """How to plan, as `secateur.client.Planning` says."""

    mode: Annotated[
        str,
        typer.Option(
            help="What decides where to cut: device (every limit at once), parameters, flops, memory or activation; hybrid "
            "(whole blocks and widths together; what stays keeps its weights); or a baseline: uniform (all groups alike) or "
            "stock (a smaller network of the same zoo family).",
            rich_help_panel=_PLAN,
        ),
    ] = "device"
    round_to: Annotated[int, typer.Option(help="Kept widths are multiples of this.", rich_help_panel=_PLAN)] = 1
    step: Annotated[
        float | None, _option("Share of a group's channels that one step removes, above 0 and below 1. Default: 0.1.", _PLAN)
    ] = None
    min_width: Annotated[int, typer.Option(help="Smallest width of any group.", rich_help_panel=_PLAN)] = 4
    residual: Annotated[
        str,
        typer.Option(
            help="Groups that take part in a residual addition: skip (they stay) or coupled (they are cut together).",
            rich_help_panel=_PLAN,
        ),
    ] = "skip"
    temperature: Annotated[
        float | None,
        _option("Groups are drawn by their share to this power, 0 to 4: 1 is the default, 0 draws all alike.", _PLAN),
    ] = None
    criterion: Annotated[
        str | None,
        _option(
            "Of mode hybrid: what makes a channel worth keeping: weight_l1 (the default), weight_l2, batch_norm_scale, "
            "feature_map_rank or random. A quote, which has no weights, draws at random.",
            _PLAN,
        ),
    ] = None
    order: Annotated[
        str | None, _option("Of mode hybrid: what is cut first: layers_first (the default) or channels_first.", _PLAN)
    ] = None
    alpha: Annotated[
        float | None,
        _option(
            "Of mode hybrid: base of depth, from 1 (channels only) to 2 (blocks only). Default: a job tries several, a quote "
            "takes 1.2.",
            _PLAN,
        ),
    ] = None
    rounds: Annotated[
        int | None,
        _option(
            "Of mode hybrid: times of scoring, cutting and fine-tuning on the way to the budget. Default: 1; more cut channels "
            "only, the conventional pipeline.",
            _PLAN,
        ),
    ] = None
    literal: Annotated[
        bool,
        typer.Option(
            "--literal",
            help="Follow the paper to the letter: no smallest width, no rounding, overshooting. Of the modes parameters, "
            "flops, memory and activation.",
            rich_help_panel=_PLAN,
        ),
    ] = False
    search: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Draw N plans, 2 to 1000, rank those that keep every limit without training, and train the best. Not with "
            "uniform, stock and hybrid, which draw nothing; a quote shows the first plan.",
            rich_help_panel=_PLAN,
            show_default=False,
        ),
    ] = None
    finalists: Annotated[
        int | None, _option("Of a search: best-ranked plans that are trained briefly, 1 to 16. Default: 4.", _PLAN)
    ] = None
    brief_epochs: Annotated[int | None, _option("Of a search: epochs of that training, 1 to 100. Default: 3.", _PLAN)] = None

    @property
    def planning(self) -> Planning:
        """The arguments of `Client.quote` and `Client.submit`.

        Raises:
            UsageError: If options of a search are given without one.
        """
        return Planning(
            mode=self.mode,
            round_to=self.round_to,
            step=self.step,
            min_width=self.min_width,
            residual=self.residual,
            temperature=self.temperature,
            hybrid=self._hybrid(),
            search=self._search(),
            literal=self.literal,
        )

    def _hybrid(self) -> HybridPolicy | None:
        given = {"criterion": self.criterion, "order": self.order, "alpha": self.alpha, "rounds": self.rounds}
        chosen = {name: value for name, value in given.items() if value is not None}
        return HybridPolicy(**chosen) if chosen or self.mode == "hybrid" else None  # type: ignore[arg-type]

    def _search(self) -> SearchPolicy | None:
        given = {
            name: value
            for name, value in (("finalists", self.finalists), ("brief_epochs", self.brief_epochs))
            if value is not None
        }
        if self.search is not None:
            return SearchPolicy(self.search, **given)
        if given:
            raise UsageError(
                "POLICY_INVALID",
                f"Only a search has finalists; add --search N or leave them out. Received: {', '.join(given)} without a search",
                field="search",
            )
        return None


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train, as `secateur.client.Recipe` says. What is left out is the recipe's own."""

    recipe: Annotated[
        str,
        _option(
            "Training recipe: fast (the default), strong (long, taught by the unpruned network), finetune or paper. The other "
            "options of this group override its values.",
            _TRAIN,
        ),
    ] = ""
    epochs: Annotated[int | None, _option("Passes over the training split, 1 to 10000.", _TRAIN)] = None
    batch_size: Annotated[int | None, _option("Images per step, 1 to 8192.", _TRAIN)] = None
    learning_rate: Annotated[float | None, _option("Peak learning rate, at most 10.", _TRAIN)] = None
    optimizer: Annotated[str | None, _option("sgd (with Nesterov momentum) or rmsprop.", _TRAIN)] = None
    schedule: Annotated[str | None, _option("How the learning rate moves: one_cycle, cosine or constant.", _TRAIN)] = None
    weight_decay: Annotated[float | None, _option("Decoupled weight decay, 0 to 1.", _TRAIN)] = None
    label_smoothing: Annotated[
        float | None, _option("Share of the target probability that is spread over all classes, 0 to 0.9.", _TRAIN)
    ] = None
    flip: Annotated[bool | None, _option("Mirror training images, left to right.", _TRAIN)] = None
    crop: Annotated[int | None, _option("Shift training images by up to so many pixels; 0 for none.", _TRAIN)] = None
    cutout: Annotated[
        int | None, _option("Blank a square of training images, with sides of so many pixels; 0 for none.", _TRAIN)
    ] = None
    average_epochs: Annotated[
        float | None, _option("Average the weights over about so many epochs, 0 (none) to 100.", _TRAIN)
    ] = None
    distillation: Annotated[
        float | None, _option("Weight of the unpruned network's answers in the loss, 0 (none) to 1.", _TRAIN)
    ] = None
    patience: Annotated[
        int | None, _option("End once the validation loss has not sunk for so many epochs; 0 for never.", _TRAIN)
    ] = None
    validation_fraction: Annotated[
        float | None, _option("Share of the training images that is kept for validation, 0.01 to 0.5.", _TRAIN)
    ] = None
    scratch: Annotated[
        str | None,
        _option(
            "What a pruned network that is trained from scratch gets of the unpruned one: its epochs, or its compute, which "
            "is more epochs.",
            _TRAIN,
        ),
    ] = None
    mixed_precision: Annotated[bool | None, _option("Compute in bfloat16 where the hardware is made for it.", _TRAIN)] = None

    @property
    def chosen(self) -> Recipe:
        """The recipe as `Client.submit` takes it."""
        own = {field: value for field, value in vars(self).items() if field not in ("recipe", "flip", "crop", "cutout")}
        return Recipe(self.recipe, augmentation=Augmentation(self.flip, self.crop, self.cutout), **own)


ShowDeleted = Annotated[bool, typer.Option("--deleted", help="List those that were deleted too.")]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="No error if there is none, or if it was deleted before.")]
Rows = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Most rows.")]
JobFilter = Annotated[
    str, typer.Option("--filter", help="Which rows: 'state = RUNNING AND labels.site = \"a\"'.", show_default=False)
]
JobOrder = Annotated[
    str, typer.Option("--order-by", help="Order: 'end_time desc', 'attempt, create_time'.", show_default=False)
]
ModelFilter = Annotated[
    str, typer.Option("--filter", help="Which rows: 'accuracy >= 0.9 AND flash_bytes < 300000'.", show_default=False)
]
ModelOrder = Annotated[
    str, typer.Option("--order-by", help="Order: 'accuracy desc, flash_bytes', 'create_time'.", show_default=False)
]
Timeout = Annotated[str | None, typer.Option(help="Longest wait: 90s, 10m. The job goes on after it.", show_default=False)]


def labels(pairs: Sequence[str] | None) -> dict[str, str]:
    """Returns labels written as "key=value".

    Raises:
        UsageError: If one has no "=".
    """
    for pair in pairs or ():
        if "=" not in pair:
            raise UsageError("LABEL_INVALID", f"A label is key=value. Received: {pair!r}", field="labels")
    return dict(pair.split("=", 1) for pair in pairs or ())
