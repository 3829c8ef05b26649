"""A quote as a drawing: where the network spends, what each plan keeps, and where it lies beside the budget curve.

matplotlib is an optional extra and is imported when something is drawn; figures are made without pyplot, so that nothing
global changes and no display is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from secateur.client._files import published
from secateur.client.cli.formats import figure, percent
from secateur.client.cli.shares import RESOURCES, GroupCut, GroupShares, cost_left, cuts, group_shares, kept_channels
from secateur.client.errors import UsageError
from secateur.client.values import Architecture, Quotes, TargetQuote

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

FORMATS: Final = (".svg", ".png")

_COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999933")
"""Colours that the colour-blind can tell apart (Okabe and Ito)."""
_BEFORE, _AFTER = "#d9d9d9", "#0072B2"
_ROW_INCHES, _CURVE_INCHES, _LEGEND_INCHES = 0.27, 2.9, 0.15
_LEFT_INCHES, _TARGET_INCHES = 5.6, 4.4
_DPI, _MOST_PIXELS = 120, 20_000
_STYLE: Final[dict[RcKeyType, Any]] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text: it can be searched and selected
    "svg.hashsalt": "secateur",  # else every drawing of the same quote has other ids
    "text.parse_math": False,  # a layer may be named "$"
}


class QuotePlot:
    """A file that a quote will be drawn into. All that can be wrong with it is found before the service is asked.

    Args:
        path: The file; its suffix tells the format.

    Raises:
        UsageError: PLOT_FORMAT, if the suffix is none of `FORMATS`; PLOT_UNAVAILABLE, if matplotlib is missing; PLOT_FOLDER,
            if the folder does not exist.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in FORMATS:
            raise UsageError("PLOT_FORMAT", f"A plot is a file {' or '.join(FORMATS)}. Received: {path}", field="plot")
        if not path.parent.is_dir():
            raise UsageError("PLOT_FOLDER", f"A plot goes into a folder that exists. Received: {path}", field="plot")
        try:
            import matplotlib as mpl
        except ImportError as error:
            raise UsageError(
                "PLOT_UNAVAILABLE",
                f"Drawing needs matplotlib; install the extra secateur-client[plot]. Received: {path} ({error})",
                field="plot",
            ) from None
        self._path = path
        self._style = mpl.rc_context

    def save(self, architecture: Architecture, quotes: Quotes) -> None:
        """Draws the quotes of an architecture; equal quotes make equal files. The file is there whole or not at all."""
        kind = self._path.suffix.lower().removeprefix(".")
        with self._style(_STYLE), published(self._path) as file:
            drawing = _draw(architecture, quotes)
            dpi = min(_DPI, _MOST_PIXELS / max(drawing.get_size_inches()))
            drawing.savefig(file, format=kind, dpi=dpi, metadata={"Date": None} if kind == "svg" else None)


def _draw(architecture: Architecture, quotes: Quotes) -> Figure:
    """Returns one column of shares and, beside it, one column per target with the same rows: one per group."""
    from matplotlib.figure import Figure

    kept = [cuts(quote.plan, architecture) if quote.plan is not None else [] for quote in quotes]
    touched = {cut.group for widths in kept for cut in widths}
    rows = [group for group in group_shares(architecture) if any(group.shares.values()) or group.name in touched]
    legend = _LEGEND_INCHES * (1 + max((len(quote.limits) for quote in quotes), default=0))
    heights = (_CURVE_INCHES + legend, max(2.0, _ROW_INCHES * (len(rows) + 2)))
    columns = (_LEFT_INCHES, *[_TARGET_INCHES] * len(quotes))
    drawing = Figure(figsize=(sum(columns), sum(heights) + 0.5), layout="constrained")
    axes = drawing.subplots(2, len(columns), squeeze=False, height_ratios=heights, width_ratios=columns)
    drawing.suptitle(f"{architecture.display_name or architecture.name}: what is spent, and what the plans keep", fontsize=11)
    _draw_summary(axes[0][0], architecture)
    _draw_shares(axes[1][0], rows)
    for number, (quote, widths) in enumerate(zip(quotes, kept, strict=True), start=1):
        heading = f"Target {number} of {len(quotes)}: {'feasible' if quote.feasible else 'infeasible'}"
        _draw_curve(axes[0][number], quotes, quote, widths, heading)
        _draw_widths(axes[1][number], [row.name for row in rows], quote, widths)
    return drawing


def _draw_summary(axes: Axes, architecture: Architecture) -> None:
    cost = architecture.cost
    prunable = sum(group.prunable for group in architecture.groups)
    facts = (
        f"input {' x '.join(map(str, architecture.input_shape))}, {architecture.classes} classes",
        f"{cost.parameters:,} parameters, {cost.macs:,} MACs",
        f"flash {figure('flash_bytes', cost.flash_bytes)}, RAM {figure('ram_bytes', cost.ram_bytes)} (int8, predicted)",
        f"{prunable} of {len(architecture.groups)} channel groups may be cut",
    )
    axes.set_axis_off()
    axes.set_title("The unpruned network", loc="left", fontweight="bold")
    axes.text(0, 0.95, "\n".join(facts), va="top", linespacing=1.6, transform=axes.transAxes)


def _draw_shares(axes: Axes, rows: Sequence[GroupShares]) -> None:
    thickness = 0.8 / len(RESOURCES)
    for place, (resource, colour) in enumerate(zip(RESOURCES, _COLOURS, strict=False)):
        offset = (place - (len(RESOURCES) - 1) / 2) * thickness
        at = [row + offset for row in range(len(rows))]
        axes.barh(at, [100 * row.shares[resource] for row in rows], thickness, color=colour, label=resource)
    axes.set_title("Shares by channel group", loc="left", fontweight="bold")
    axes.set_xlabel("share among the layers whose channels may be cut (%)")
    _draw_rows(axes, len(rows))
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.legend(loc="best", frameon=False)


def _draw_widths(axes: Axes, rows: Sequence[str], quote: TargetQuote, widths: Sequence[GroupCut]) -> None:
    at = {name: place for place, name in enumerate(rows)}
    shown = [cut for cut in widths if cut.group in at]
    places = [at[cut.group] for cut in shown]
    axes.barh(places, [cut.before for cut in shown], 0.7, color=_BEFORE, label="before")
    axes.barh(places, [cut.after for cut in shown], 0.7, color=_AFTER, label="after")
    for cut, place in zip(shown, places, strict=True):
        after = f"{cut.after:,} of {cut.before:,}" if cut.after else "dropped"
        axes.annotate(after, (cut.before, place), (3, 0), textcoords="offset points", va="center", fontsize=6.5)
    axes.set_title("Width of every group that may be cut", loc="left", fontweight="bold")
    axes.set_xlabel("channels")
    axes.margins(x=0.22)  # room for the figures at the ends of the bars
    _draw_rows(axes, len(rows))
    axes.set_yticks(range(len(rows)), [""] * len(rows))
    if shown:
        axes.legend(loc="best", frameon=False)
    elif quote.plan is not None and quote.plan.stock:
        axes.text(0.5, 0.5, f"the network {quote.plan.stock} in its place", ha="center", transform=axes.transAxes)


def _draw_rows(axes: Axes, rows: int) -> None:
    axes.set_ylim(rows - 0.4, -0.6)  # the first layer on top
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=_BEFORE, linewidth=0.5)
    axes.set_axisbelow(True)


def _draw_curve(axes: Axes, quotes: Quotes, quote: TargetQuote, widths: Sequence[GroupCut], heading: str) -> None:
    """Draws what is left of the limited resources at every width, each bound, and where the plan comes to lie."""
    limits = [limit for limit in quote.limits if hasattr(quotes.unpruned_cost, limit.resource)]
    at = 100 * kept_channels(widths) if widths else None
    for limit, colour in zip(limits, _COLOURS, strict=False):
        curve = [
            (100 * point.width, 100 * cost_left(point.cost, quotes.unpruned_cost, limit.resource)) for point in quotes.curve
        ]
        asked, reached = (figure(limit.resource, value) for value in (limit.asked, limit.predicted))
        name = limit.resource.removesuffix("_bytes")
        axes.plot(*zip(*curve, strict=True), color=colour, linewidth=1.4, label=f"{name}: {reached} of {asked} asked")
        if limit.asked <= limit.unpruned:
            axes.axhline(100 * limit.asked / limit.unpruned, color=colour, linewidth=0.8, linestyle=":")
        if at is not None:
            marker = "o" if limit.met else "X"
            axes.plot(at, 100 * limit.predicted / limit.unpruned, marker, color=colour, markersize=7, markeredgecolor="black")
    axes.set_title(heading, loc="left", fontweight="bold")
    axes.set_xlabel(
        "channels kept, all groups alike (%)" if at is None else f"channels kept (%); the plan: {percent(at / 100)}"
    )
    axes.set_ylabel("left of the unpruned network (%)")
    axes.set_xlim(0, 102)
    axes.set_ylim(0, 105)
    axes.grid(color=_BEFORE, linewidth=0.5)
    axes.set_axisbelow(True)
    if limits:
        title = "lines: all groups alike; dotted: asked; marks: the plan"
        axes.legend(  # below: within, it would hide lines and marks
            loc="upper left",
            bbox_to_anchor=(-0.02, -0.17),
            title=title,
            title_fontsize=7,
            alignment="left",
            frameon=False,
            fontsize=7,
        )
