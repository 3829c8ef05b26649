"""What the tables of the papers consist of: one cell is one network, data set, way of pruning and budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from secateur.core.resources import Budget
from secateur.core.specs import Criterion, HybridPolicy, Order, PlanMode, PlanPolicy, SearchPolicy

WHOLE: Final = Budget.fractions(flops=1.0)
"""A budget that cuts nothing: the unpruned network."""
SEARCH: Final = SearchPolicy(candidates=100, finalists=3)


@dataclass(frozen=True)
class Cell:
    """One row of a table, still without a seed.

    Args:
        network: Zoo name.
        dataset: Registered data set.
        label: How it is pruned, for people.
        policy: How it is pruned.
        budget: To what.
    """

    network: str
    dataset: str
    label: str
    policy: PlanPolicy
    budget: Budget

    @property
    def asked(self) -> str:
        """The budget in short: "flops 10.33 %"."""
        return ", ".join(f"{limit.resource} {100 * (limit.fraction or 0):g} %" for limit in self.budget.limits)


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        title: What it is about.
        cells: Its rows.
    """

    title: str
    cells: tuple[Cell, ...]


_PAPER_MODES: Final = {
    "PA": (PlanMode.PARAMETERS, "parameters"),
    "FA": (PlanMode.FLOPS, "flops"),
    "MA": (PlanMode.MEMORY, "memory_bytes"),
}


def _reductions(network: str, dataset: str, percent: Mapping[str, float]) -> tuple[Cell, ...]:
    """The unpruned network, and for each mode of the paper its reduction: literally, ours, and the baselines at equal cost."""
    cells = [Cell(network, dataset, "unpruned", PlanPolicy(PlanMode.UNIFORM), WHOLE)]
    for name, reduction in percent.items():
        mode, resource = _PAPER_MODES[name]
        budget = Budget.fractions(**{resource: round(1 - reduction / 100, 6)})
        cells += _ways(network, dataset, name, mode, budget)
    return tuple(cells)


def _ways(network: str, dataset: str, name: str, mode: PlanMode, budget: Budget) -> Iterable[Cell]:
    yield Cell(network, dataset, f"{name}, literal", PlanPolicy(mode, literal=True), budget)
    yield Cell(network, dataset, f"{name}, ours", PlanPolicy(mode), budget)
    yield Cell(network, dataset, f"{name}, ours, search", PlanPolicy(mode, search=SEARCH), budget)
    yield Cell(network, dataset, "uniform", PlanPolicy(PlanMode.UNIFORM), budget)
    if network.startswith("resnet"):
        yield Cell(network, dataset, "stock", PlanPolicy(PlanMode.STOCK), budget)


def _training_time(network: str) -> Iterable[Cell]:
    """Table 5: one training of the small network, against trainings of the large one and of all on the way."""
    half = Budget.fractions(flops=0.5)
    yield Cell(network, "cifar10", "FA, ours", PlanPolicy(PlanMode.FLOPS), half)
    yield Cell(network, "cifar10", "hybrid, one shot", PlanPolicy(PlanMode.HYBRID, hybrid=HybridPolicy(alpha=1.0)), half)
    yield Cell(network, "cifar10", "iterative, 5 rounds", PlanPolicy(PlanMode.HYBRID, hybrid=HybridPolicy(rounds=5)), half)


def _hybrid() -> Iterable[Cell]:
    """Seed B: criteria and orders, against what its family, uniform widths and training from scratch come to."""
    for budget in (Budget.fractions(flops=0.55), Budget.fractions(flops=0.33)):
        for criterion in Criterion:
            for order in Order:
                policy = PlanPolicy(PlanMode.HYBRID, hybrid=HybridPolicy(criterion, order))
                yield Cell("resnet56", "cifar100", f"hybrid, {criterion}, {order}", policy, budget)
        yield from _ways("resnet56", "cifar100", "FA", PlanMode.FLOPS, budget)


def _equal_flops() -> Iterable[Cell]:
    for network, dataset, share in (
        ("resnet20", "cifar10", 0.5),
        ("resnet20", "cifar10", 0.25),
        ("vgg16", "cifar10", 0.1),
        ("resnet56", "cifar100", 0.25),
    ):
        yield from _ways(network, dataset, "FA", PlanMode.FLOPS, Budget.fractions(flops=share))


def _trade_off() -> Iterable[Cell]:
    """Figs. 3 and 4: one network, several reductions in every mode."""
    for shares in ((0.5, 0.75), (0.25, 0.5), (0.1, 0.35)):  # of memory more: residual streams hold 31 % of it and stay
        for name, (mode, resource) in _PAPER_MODES.items():
            share = shares[mode is PlanMode.MEMORY]
            yield Cell("resnet20", "cifar10", f"{name}, ours", PlanPolicy(mode), Budget.fractions(**{resource: share}))
        yield Cell("resnet20", "cifar10", "uniform", PlanPolicy(PlanMode.UNIFORM), Budget.fractions(flops=shares[0]))


TABLES: Final = {
    "1": Table("VGG-16 on CIFAR-10", _reductions("vgg16", "cifar10", {"PA": 84.25, "FA": 89.67, "MA": 91.02})),
    "2": Table("MobileNetV2 on CIFAR-10", _reductions("mobilenetv2", "cifar10", {"PA": 70.03, "FA": 50.77, "MA": 53.5})),
    "3": Table("AlexNet on CIFAR-100", _reductions("alexnet", "cifar100", {"PA": 63.92, "FA": 79.28, "MA": 83.31})),
    "4": Table("ResNet-50 on CIFAR-100", _reductions("resnet50", "cifar100", {"PA": 53.4, "FA": 51.33, "MA": 30.2})),
    "5": Table("Training time, CIFAR-10", (*_training_time("alexnet"), *_training_time("vgg16"))),
    "6": Table("Channels and layers: ResNet-56 on CIFAR-100", tuple(_hybrid())),
    "equal": Table("Equal FLOPs", tuple(_equal_flops())),
    "tradeoff": Table("Accuracy against resources, ResNet-20 on CIFAR-10", tuple(_trade_off())),
}
"""Tables 1 to 5 of seed A, 6 for seed B, what Done-when of the issue asks beside them, and the points of Figs. 3 and 4."""
