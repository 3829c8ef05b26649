"""What the service answered, as tables for people. Nothing here prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC

from rich.console import Group, RenderableType
from rich.text import Text

from secateur.client._views import JobView, ModelView
from secateur.client.cli.bars import bar
from secateur.client.cli.formats import figure, percent, short_name, size
from secateur.client.cli.measured import artifact_table, device_artifact, figure_tables, operator_tables
from secateur.client.cli.shares import RESOURCES, cost_left, layer_shares
from secateur.client.cli.tables import FittingTable, spaced
from secateur.client.cli.training import progress_line
from secateur.client.cli.whereabouts import STATE_STYLES, how_far, moment, whereabouts
from secateur.client.datasets import Dataset
from secateur.client.jobs import (
    Attempt,
    JobEvent,
    SearchCandidate,
)
from secateur.client.values import (
    Architecture,
    Compliance,
    Cost,
    DeviceProfile,
    GroupWidth,
    LimitQuote,
    Quotes,
)

_BAR_CELLS = 32
_SHARE_CELLS = 6


def render_job(job: JobView, models: Sequence[ModelView]) -> RenderableType:
    """Returns a job and, target by target, what came of it: every limit, the files, what was measured.

    Args:
        job: The job.
        models: Its models, in any order.
    """
    snapshot = job.snapshot
    parts: list[RenderableType] = [Group(*whereabouts(snapshot))]
    by_name = {model.name: model for model in models}
    for result in snapshot.results:
        target = snapshot.targets[result.target_index : result.target_index + 1]
        profile = target[0].device_profile if target else ""
        heading = Text(f"Target {result.target_index + 1} of {len(snapshot.targets)} {profile}".rstrip(), style="bold")
        message = [Text(result.message, style="" if result.met else "yellow")] if result.message else []
        parts.append(Group(heading, *message))
        parts.append(compliance_table(result.compliance))
        if len(result.attempts) > 1:
            parts.append(attempt_table(result.attempts))
        if result.model in by_name:
            parts.append(render_model(by_name[result.model], brief=True))
    return spaced(parts)


def render_model(model: ModelView, *, brief: bool = False) -> RenderableType:
    """Returns a model: its files, what it costs and what was measured.

    Args:
        model: The model.
        brief: Leaves out how its limits came out, which stands above, and how each figure was obtained.
    """
    parts: list[RenderableType] = [Text.assemble("Model ", (model.name, "bold"))]
    if not brief:
        parts.append(compliance_table(model.compliance))
    parts += [artifact_table(model), *figure_tables(model, methods=not brief), *operator_tables(model)]
    return spaced(parts)


def compliance_table(compliance: Iterable[Compliance]) -> FittingTable:
    """Returns a table of limits: asked, achieved, margin, whether met, and how it was measured."""
    table = FittingTable("Limit", ">Asked", ">Achieved", ">Margin", "Met", "~How measured")
    for limit in compliance:
        table.add_row(
            _limit_name(limit.resource, limit.origin),
            figure(limit.resource, limit.asked),
            figure(limit.resource, limit.achieved),
            f"{100 * limit.margin:+.1f} %",
            _yes_or_no(limit.met),
            limit.method,
        )
    return table


def attempt_table(attempts: Sequence[Attempt]) -> FittingTable:
    """Returns a table of the plans that were tried for a target: what each missed, and what that did to the next."""
    table = FittingTable("Attempt", "Plan", "Measured", "~Missed", "~Next plan kept")
    for number, attempt in enumerate(attempts, start=1):
        missed = (
            f"{limit.resource} {figure(limit.resource, limit.achieved)} of {figure(limit.resource, limit.asked)}"
            for limit in attempt.compliance
            if not limit.met
        )
        kept = (f"{each.resource} {figure(each.resource, each.limit)}" for each in attempt.tightened)
        measured = "trained" if attempt.trained else "untrained export"
        table.add_row(str(number), attempt.plan[:16], measured, ", ".join(missed), ", ".join(kept))
    return table


def render_quotes(quotes: Quotes) -> RenderableType:
    """Returns what was quoted, target by target, the widths of every plan, and the budget curve."""
    parts: list[RenderableType] = []
    for number, quote in enumerate(quotes, start=1):
        verdict = (
            ("unchanged", "yellow") if quote.unchanged else ("feasible", "green") if quote.feasible else ("infeasible", "red")
        )
        heading = Text.assemble((f"Target {number} of {len(quotes)} ", "bold"), verdict)
        parts.append(Group(heading, *([Text(quote.message)] if quote.message else [])))
        parts.append(_quote_table(quote.limits))
        if quote.plan is not None:
            parts.append(_estimates(quote.plan.cost))
        if quote.plan is not None and quote.plan.widths and not quote.unchanged:
            parts.append(_width_table(quote.plan.widths))
        if quote.plan is not None and quote.plan.dropped_blocks:
            parts.append(Text(f"Dropped blocks: {', '.join(quote.plan.dropped_blocks)}"))
    if quotes.curve:
        parts.append(_curve_table(quotes))
    return spaced(parts)


def job_table(jobs: Iterable[JobView]) -> FittingTable:
    """Returns a table of jobs, by their ids."""
    table = FittingTable("Job", "State", "Stage", "Created, UTC", "Data set", "~Name")
    for job in jobs:
        snapshot = job.snapshot
        state = Text(snapshot.state, style=STATE_STYLES.get(snapshot.state, ""))
        table.add_row(
            short_name(snapshot.name),
            state,
            how_far(snapshot),
            f"{snapshot.create_time.astimezone(UTC):%Y-%m-%d %H:%M}" if snapshot.create_time else "",
            short_name(snapshot.dataset),
            snapshot.display_name,
        )
    return table


def model_table(models: Iterable[ModelView]) -> FittingTable:
    """Returns a table of models, by their ids."""
    table = FittingTable("Model", "Data set", "Profile", ">Parameters", ">Flash", ">Accuracy", "Met")
    for model in models:
        snapshot = model.snapshot
        file = device_artifact(model)
        table.add_row(
            short_name(snapshot.name),
            short_name(snapshot.dataset),
            short_name(snapshot.device_profile),
            f"{snapshot.plan.cost.parameters:,}",
            size(file.size_bytes) if file else "",
            percent(file.accuracy) if file else "",
            _yes_or_no(snapshot.met),
        )
    return table


def dataset_table(datasets: Iterable[Dataset]) -> FittingTable:
    """Returns a table of data sets."""
    table = FittingTable("Data set", "~Name", "Images", ">Classes", ">To train on", ">To test on", ">File")
    for dataset in datasets:
        table.add_row(
            short_name(dataset.name),
            dataset.display_name,
            "x".join(map(str, dataset.input_shape)),
            f"{dataset.classes:,}",
            f"{dataset.train_images:,}",
            f"{dataset.test_images:,}",
            size(dataset.size_bytes) if dataset.sha256 else "built in",
        )
    return table


def render_dataset(dataset: Dataset) -> RenderableType:
    """Returns one data set with the names of its classes, what may be done to its images, and the digest of its file."""
    done = dataset.augmentation
    allowed = [
        *(["mirrored"] if done.flip else []),
        *([f"shifted by up to {done.crop} pixels"] if done.crop else []),
        *([f"blanked in a square of {done.cutout} pixels"] if done.cutout else []),
    ]
    parts: list[RenderableType] = [Text(dataset.name, style="bold"), dataset_table([dataset])]
    if dataset.class_names:
        parts.append(Text(f"Classes: {', '.join(dataset.class_names)}"))
    parts.append(Text(f"Training images may be {', '.join(allowed) or 'used only as they are'}"))
    if dataset.sha256:
        parts.append(Text(f"SHA-256 {dataset.sha256}", style="dim"))
    return Group(*parts)


def profile_table(profiles: Iterable[DeviceProfile]) -> FittingTable:
    """Returns a table of device profiles."""
    table = FittingTable(
        "Profile", "~Device", ">Clock", ">Flash for the model", ">RAM for the model", ">MACs per second", "Runtime"
    )
    for profile in profiles:
        table.add_row(
            short_name(profile.name),
            profile.display_name,
            f"{profile.clock_hz / 1e6:,.0f} MHz",
            size(profile.usable_flash_bytes),
            size(profile.usable_ram_bytes),
            f"{profile.macs_per_second / 1e6:,.0f} M",
            profile.runtime,
        )
    return table


def render_profile(profile: DeviceProfile) -> RenderableType:
    """Returns one device profile with all its memory, how fast it is taken to be, and where the figures come from."""
    memory = f"{size(profile.flash_bytes)} of flash and {size(profile.ram_bytes)} of RAM in all"
    speed = f"{size(profile.bytes_per_second)} of memory per second, {profile.seconds_per_operator * 1e6:,.4g} µs per operator"
    return Group(
        Text(profile.name, style="bold"),
        profile_table([profile]),
        Text(f"{memory}; {speed}"),
        Text(profile.source, style="dim"),
    )


def architecture_table(architectures: Iterable[Architecture]) -> FittingTable:
    """Returns a table of architectures."""
    table = FittingTable("Architecture", "Input", ">Classes", ">Parameters", ">MACs", "~Name")
    for architecture in architectures:
        table.add_row(
            architecture.name,  # in full: by its id alone it would be one of the zoo
            _shape(architecture.input_shape),
            str(architecture.classes),
            f"{architecture.cost.parameters:,}",
            f"{architecture.cost.macs:,}",
            architecture.display_name,
        )
    return table


def render_architecture(architecture: Architecture) -> RenderableType:
    """Returns one architecture with its layers and their shares of the whole."""
    of_what = [f">of {resource}" for resource in RESOURCES]
    table = FittingTable("Layer", "Type", "Output", ">Parameters", ">MACs", *of_what, "Group")
    for layer in architecture.layers:
        shares = [_share(share) for share in layer_shares(layer).values()]
        table.add_row(
            layer.name,
            layer.op,
            _shape(layer.output_shape),
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            *shares,
            layer.group,
        )
    prunable = sum(group.prunable for group in architecture.groups)
    summary = Text(f"{prunable} of {len(architecture.groups)} channel groups may be cut")
    return spaced([architecture_table([architecture]), table, Group(summary, _estimates(architecture.cost))])


def candidate_table(candidates: Sequence[SearchCandidate]) -> FittingTable:
    """Returns a table of what a search looked at, with one column per proxy that scored any of them."""
    proxies = sorted({proxy for candidate in candidates for proxy in candidate.scores})
    headings = ("Origin", ">Parameters", ">MACs", *(f">{proxy}" for proxy in proxies), ">Rank")
    table = FittingTable(*headings, "Limits missed", "Measured fits", ">Brief accuracy", "Chosen")
    for candidate in candidates:
        accuracy, rank, fits = candidate.validation_accuracy, candidate.rank, candidate.measured_fits
        table.add_row(
            candidate.origin,
            f"{candidate.parameters:,}",
            f"{candidate.macs:,}",
            *(f"{candidate.scores[proxy]:.4g}" if proxy in candidate.scores else "" for proxy in proxies),
            f"{rank:.1f}" if rank is not None else "",
            ", ".join(candidate.missed_limits),
            _yes_or_no(fits) if fits is not None else "",
            percent(accuracy) if accuracy is not None else "",
            _yes_or_no(met=True) if candidate.chosen else "",
        )
    return table


def event_line(event: JobEvent) -> str:
    """Returns one event as one line of text: its message, or how far the training is, of which the message says less."""
    words = [moment(event.time), event.state, event.stage]
    if event.attempt > 1:
        words.append(f"attempt {event.attempt}")
    words.append(progress_line(event.progress, curve=True) if event.progress else " ".join(event.message.split()))
    return " ".join(filter(None, words))


def _estimates(cost: Cost) -> Text:
    """Returns what is predicted of the exported network, and its energy, as a line."""
    return Text(
        f"Predicted: {size(cost.flash_bytes)} as int8, {size(cost.flash_float32_bytes)} as float32, "
        f"{size(cost.ram_bytes)} of arena. Estimated energy per image at 32 bit: {cost.energy_horowitz_uj:,.4g} µJ (Horowitz), "
        f"{cost.energy_paper_uj:,.4g} µJ (the paper's constants).",
        style="dim",
    )


def _quote_table(limits: Iterable[LimitQuote]) -> FittingTable:
    table = FittingTable("Limit", ">Asked", ">Unpruned", ">Predicted", ">Smallest reachable", "Met")
    for limit in limits:
        figures = (limit.asked, limit.unpruned, limit.predicted, limit.smallest_reachable)
        table.add_row(
            _limit_name(limit.resource, limit.origin),
            *(figure(limit.resource, value) for value in figures),
            _yes_or_no(limit.met),
        )
    return table


def _width_table(widths: Iterable[GroupWidth]) -> FittingTable:
    """Returns the width of every group before and after, as a figure and as a bar."""
    table = FittingTable("Group", ">Before", ">After", "Kept of what there was")
    widest = max((group.unpruned_width for group in widths), default=1)
    for group in widths:
        room = _BAR_CELLS * group.unpruned_width / widest
        table.add_row(
            group.group,
            f"{group.unpruned_width:,}",
            f"{group.width:,}",
            bar(group.width / group.unpruned_width, cells=room),
        )
    return table


def _curve_table(quotes: Quotes) -> FittingTable:
    """Returns what is left of every resource at sampled widths, as a figure and as a bar."""
    names = ("parameters", "macs", "flash_bytes", "ram_bytes")
    caption = "What the network costs with all groups narrowed alike, and that as a share of the unpruned network."
    table = FittingTable(">Width", *names, caption=caption)
    for point in quotes.curve:
        shares = {name: cost_left(point.cost, quotes.unpruned_cost, name) for name in names}
        cells = [
            Text.assemble(bar(share, cells=_SHARE_CELLS), " ", figure(name, getattr(point.cost, name)))
            for name, share in shares.items()
        ]
        table.add_row(percent(point.width), *cells)
    return table


def _share(share: float) -> Text:
    return Text.assemble(bar(share, cells=_SHARE_CELLS), f" {percent(share)}") if share else Text()


def _limit_name(resource: str, origin: str) -> str:
    return f"{resource} (profile)" if origin == "device_profile" else resource


def _yes_or_no(met: bool) -> Text:
    return Text("yes", style="green") if met else Text("no", style="bold red")


def _shape(sizes: Iterable[int]) -> str:
    return "x".join(map(str, sizes))
