"""What was measured of a model, as tables for people. Nothing here prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from rich.text import Text

from secateur.client._views import ModelView
from secateur.client.cli.bars import bar
from secateur.client.cli.formats import figure, percent, short_name, size
from secateur.client.cli.tables import FittingTable
from secateur.client.values import Artifact, Cost, Measurement, OperatorProfile

_DEVICE_FORMAT: Final = "litert-int8"
_SLOWEST: Final = 10
"""Operators listed of a file; there can be two hundred."""
_BAR_CELLS: Final = 10


def device_artifact(model: ModelView) -> Artifact | None:
    """Returns the file that goes onto the device: int8 where there is one."""
    files = {artifact.format: artifact for artifact in model.artifacts}
    return files.get(_DEVICE_FORMAT, next(iter(files.values()), None))


def artifact_table(model: ModelView) -> FittingTable:
    """Returns a table of a model's files."""
    table = FittingTable("File", ">Size", ">Accuracy", ">Test images", "SHA-256")
    for artifact in model.artifacts:
        accuracy = percent(artifact.accuracy)
        table.add_row(artifact.format, size(artifact.size_bytes), accuracy, str(artifact.test_images), artifact.sha256[:16])
    return table


def figure_tables(model: ModelView, *, methods: bool) -> Iterator[FittingTable]:
    """Yields tables of what was counted and measured: of the network, of its files and, with `methods`, how that was done."""
    snapshot = model.snapshot
    rows: dict[str, dict[str, Measurement]] = {}
    for measurement in snapshot.measurements:
        rows.setdefault(measurement.name, {})[measurement.format] = measurement
    machines = Counter(measurement.machine for measurement in snapshot.measurements)
    machine = max(machines, key=machines.__getitem__, default="")
    measured_on = f"Measured on {machine}, unless another machine is named." if machine else ""

    network = FittingTable("Of the network", ">Unpruned", ">Pruned", "~How it was obtained")
    unpruned = _counts(snapshot.unpruned_cost)
    for name, value in _counts(snapshot.plan.cost).items():
        network.add_row(name, figure(name, unpruned[name]), figure(name, value), "counted from the plan")
    formats = [artifact.format for artifact in snapshot.artifacts]
    brief = f"{measured_on} How each was obtained: secateur models get {short_name(snapshot.name)}".lstrip()
    headings = (f">{kind}".replace("-", "-\n") for kind in formats)
    files = FittingTable("Of its files", *headings, caption="" if methods else brief)
    ways = FittingTable("Figure", "~How it was obtained", caption=measured_on)
    for name, row in rows.items():
        if "" in row:
            network.add_row(name, "", figure(name, row[""].value, row[""].unit), _how({"": row.pop("")}, machine))
        if row:
            files.add_row(name, *(figure(name, row[kind].value, row[kind].unit) if kind in row else "" for kind in formats))
            ways.add_row(name, _how(row, machine))
    yield from (network, files, *([ways] if methods else []))


def operator_tables(model: ModelView) -> list[FittingTable]:
    """Returns where the time of the device's file goes: its slowest operators; nothing if that was not measured."""
    return [_operator_table(profile) for profile in model.snapshot.operator_profiles if profile.format == _DEVICE_FORMAT]


def _operator_table(profile: OperatorProfile) -> FittingTable:
    total = sum(each.milliseconds for each in profile.operators)
    slowest = sorted(profile.operators, key=lambda each: each.milliseconds, reverse=True)[:_SLOWEST]
    count = f"{len(slowest)} of {len(profile.operators)} operators, {figure('sum_ms', total)} in all"
    caption = f"{profile.format}: {count}. {profile.method}"
    table = FittingTable("Slowest operators", "~Layer", ">Output", ">Time", "Share", caption=caption)
    for each in slowest:
        share = each.milliseconds / total if total else 0.0
        table.add_row(
            each.operator,
            each.layer,
            "x".join(map(str, each.output_shape[1:])),
            figure("operator_ms", each.milliseconds),
            Text.assemble(bar(share, cells=_BAR_CELLS), f" {percent(share)}"),
        )
    return table


def _how(row: Mapping[str, Measurement], machine: str) -> str:
    """Returns how a figure was obtained; where that differs between files, each way with the first file that it is of."""
    ways: dict[str, str] = {}
    for kind, each in row.items():
        ways.setdefault(each.method if each.machine in {"", machine} else f"{each.method}, {each.machine}", kind)
    first, *others = ways
    return ". ".join([first, *(f"{ways[other]}: {other}" for other in others)])


def _counts(cost: Cost) -> Mapping[str, int]:
    """Returns the counts that hold whatever the export; sizes are predictions, and those that matter are measured."""
    return {"parameters": cost.parameters, "macs": cost.macs, "flops": cost.flops}
