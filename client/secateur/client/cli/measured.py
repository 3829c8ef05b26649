"""What was measured of a model, as tables for people. Nothing here prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from secateur.client._views import ModelView
from secateur.client.cli.bars import bar
from secateur.client.cli.formats import figure, percent, size
from secateur.client.cli.tables import new_table
from secateur.client.values import Artifact, Cost, Measurement, OperatorProfile

_DEVICE_FORMAT: Final = "litert-int8"
_SLOWEST: Final = 10
"""Operators listed of a file; there can be two hundred."""
_BAR_CELLS: Final = 20


def device_artifact(model: ModelView) -> Artifact | None:
    """Returns the file that goes onto the device: int8 where there is one."""
    files = {artifact.format: artifact for artifact in model.artifacts}
    return files.get(_DEVICE_FORMAT, next(iter(files.values()), None))


def artifact_table(model: ModelView) -> Table:
    """Returns a table of a model's files."""
    table = new_table("File", ">Size", ">Accuracy", ">Test images", "SHA-256")
    for artifact in model.artifacts:
        accuracy = percent(artifact.accuracy)
        table.add_row(artifact.format, size(artifact.size_bytes), accuracy, str(artifact.test_images), artifact.sha256[:16])
    return table


def figure_table(model: ModelView) -> Table:
    """Returns a table of what was counted and measured: a row per figure, a column per file, and how it was obtained."""
    snapshot = model.snapshot
    rows: dict[str, dict[str, Measurement]] = {}
    for measurement in snapshot.measurements:
        rows.setdefault(measurement.name, {})[measurement.format] = measurement
    formats = [artifact.format for artifact in snapshot.artifacts if any(artifact.format in row for row in rows.values())]
    unpruned = _counts(snapshot.unpruned_cost)
    machines = Counter(measurement.machine for measurement in snapshot.measurements)
    machine = max(machines, key=machines.__getitem__, default="")
    table = new_table("Figure", ">Unpruned", ">Network", *(f">{name}" for name in formats), "How")
    table.caption = f"Measured on {escape(machine)}, unless another machine is named." if machine else None
    for name, value in _counts(snapshot.plan.cost).items():
        if name not in rows:
            table.add_row(
                name, figure(name, unpruned[name]), figure(name, value), *("" for _ in formats), "counted from the plan"
            )
    for name, row in rows.items():
        before = figure(name, unpruned[name]) if name in unpruned else ""
        values = [figure(name, row[kind].value, row[kind].unit) if kind in row else "" for kind in ("", *formats)]
        table.add_row(escape(name), before, *values, escape(_how(row, machine)))
    return table


def operator_tables(model: ModelView) -> list[Table]:
    """Returns where the time of the device's file goes: its slowest operators; nothing if that was not measured."""
    return [_operator_table(profile) for profile in model.snapshot.operator_profiles if profile.format == _DEVICE_FORMAT]


def _operator_table(profile: OperatorProfile) -> Table:
    table = new_table("Slowest operators", "Layer", ">Output", ">Time", "Share")
    total = sum(each.milliseconds for each in profile.operators)
    slowest = sorted(profile.operators, key=lambda each: each.milliseconds, reverse=True)[:_SLOWEST]
    for each in slowest:
        share = each.milliseconds / total if total else 0.0
        table.add_row(
            escape(each.operator),
            escape(each.layer),
            "x".join(map(str, each.output_shape[1:])),
            figure("operator_ms", each.milliseconds),
            Text.assemble(bar(share, cells=_BAR_CELLS), f" {percent(share)}"),
        )
    count = len(profile.operators)
    table.caption = escape(
        f"{profile.format}: {len(slowest)} of {count} operators, {figure('sum_ms', total)} in all. {profile.method}"
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
