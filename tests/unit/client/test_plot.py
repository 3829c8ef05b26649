"""Drawings of quotes."""

from __future__ import annotations

import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from secateur.client import (
    Architecture,
    ChannelGroup,
    Cost,
    CurvePoint,
    GroupWidth,
    LayerSummary,
    LimitQuote,
    Plan,
    Quotes,
    TargetQuote,
    UsageError,
)
from secateur.client.cli.plot import QuotePlot

FULL = Cost(300_000, 40_000_000, 80_000_000, 1_200_000, 2_000_000, 80_000, 300_000, 79_000)
HALF = replace(FULL, parameters=150_000, macs=20_000_000)


def layer(name: str, share: float, group: str = "") -> LayerSummary:
    return LayerSummary(name, "Conv2D", (8, 8, 16), 144, 9_216, share, share, share, group)


def architecture(groups: int) -> Architecture:
    """Returns a network with as many groups of two layers each, and a head that is not cut."""
    names = [f"stage{index}_$conv" for index in range(groups)]
    layers = [layer(f"{name}{part}", 1 / groups if not part else 0.0, name) for name in names for part in ("", "_bn")]
    return Architecture(
        name="projects/default/architectures/00ff",
        digest="00ff",
        display_name="net",
        input_shape=(8, 8, 1),
        classes=10,
        cost=FULL,
        layers=(*layers, layer("head", 0.0)),
        groups=tuple(ChannelGroup(name, 16, (name,), prunable=True, reason="") for name in names),
        create_time=None,
    )


def quotes(groups: int, *, dropped: int = 0, stock: str = "", targets: int = 1) -> Quotes:
    """Returns a quote that halves every group and drops the last ones."""
    widths = tuple(GroupWidth(f"stage{index}_$conv", 8, 16) for index in range(groups - dropped))
    blocks = tuple(f"block{index}" for index in range(dropped))
    plan = Plan("d", 0, "device", () if stock else widths, HALF, stock, blocks)
    limits = (
        LimitQuote("parameters", 160_000, 300_000, 150_000, 30_000, met=True, origin="budget"),
        LimitQuote("latency_ms", 1, 2, 3, 0.5, met=False, origin="budget"),
    )
    quote = TargetQuote(feasible=False, plan=plan, limits=limits, binding_limit="latency_ms", message="", unchanged=False)
    return Quotes((quote,) * targets, FULL, (CurvePoint(1.0, FULL), CurvePoint(0.5, HALF)))


def texts(path: Path) -> list[str]:
    """Returns every text in an SVG."""
    return ["".join(element.itertext()) for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_an_svg_names_every_group_and_says_what_each_plan_keeps(tmp_path: Path) -> None:
    path = tmp_path / "quote.svg"
    QuotePlot(path).save(architecture(3), quotes(3, dropped=1, targets=2))

    found = texts(path)
    assert [text for text in found if text.endswith("_$conv")] == ["stage0_$conv", "stage1_$conv", "stage2_$conv"]
    assert [text for text in found if text in ("8 of 16", "dropped")] == ["8 of 16", "8 of 16", "dropped"] * 2
    assert {"Target 1 of 2: infeasible", "Target 2 of 2: infeasible", "parameters", "FLOPs", "memory"} <= set(found)
    assert "parameters: 150,000 of 160,000 asked" in found
    assert "channels kept (%); the plan: 33.3 %" in found


def test_a_stock_network_is_named_in_place_of_widths(tmp_path: Path) -> None:
    path = tmp_path / "quote.svg"
    QuotePlot(path).save(architecture(3), quotes(3, stock="resnet20"))

    assert "the network resnet20 in its place" in texts(path)


def test_equal_quotes_make_equal_drawings_and_replace_the_old_ones(tmp_path: Path) -> None:
    paths = [tmp_path / "first.svg", tmp_path / "second.svg"]
    paths[1].write_text("old")
    for path in paths:
        QuotePlot(path).save(architecture(2), quotes(2))

    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == paths, "no part is left behind"


def test_a_png_grows_with_the_groups(tmp_path: Path) -> None:
    sizes = []
    for groups in (3, 43):
        path = tmp_path / f"{groups}.PNG"
        QuotePlot(path).save(architecture(groups), quotes(groups))
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        chunk = content.index(b"IDAT")
        (length,) = struct.unpack(">I", content[chunk - 4 : chunk])
        assert zlib.decompressobj().decompress(content[chunk + 4 : chunk + 4 + length])
        sizes.append(struct.unpack(">II", content[16:24]))
    (narrow, low), (wide, high) = sizes
    assert narrow == wide
    assert high > low + 40 * 20, "no label is smaller than a line of text"


def test_a_drawing_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = replace(architecture(2), display_name="\ud800")  # no text that can be drawn
    with pytest.raises(TypeError):
        QuotePlot(tmp_path / "quote.svg").save(broken, quotes(2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"), [("quote.pdf", "PLOT_FORMAT"), ("quote", "PLOT_FORMAT"), ("no/q.svg", "PLOT_FOLDER")]
)
def test_a_file_that_cannot_be_drawn_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        QuotePlot(tmp_path / name)
    assert (caught.value.reason, caught.value.field) == (reason, "plot")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"install the extra secateur-client\[plot\]") as caught:
        QuotePlot(tmp_path / "quote.svg")
    assert caught.value.reason == "PLOT_UNAVAILABLE"
