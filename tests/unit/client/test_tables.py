"""Tables of the command line, on terminals of any width."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from secateur.client.cli.tables import FittingTable, spaced

WORDS = st.from_regex(r"[a-z0-9-]{1,30}", fullmatch=True)


def shown(renderable: RenderableType, width: int) -> list[str]:
    """What is printed, line by line."""
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]


def jobs(*names: str) -> FittingTable:
    """A table of jobs, of which none has a stage."""
    table = FittingTable("Job", "State", "Stage", ">Test images", "~Name", caption="All there are")
    for number, name in enumerate(names):
        table.add_row(f"0000000{number}", "SUCCEEDED", "", "1,234", name)
    return table


@given(
    rows=st.lists(st.tuples(WORDS, WORDS, WORDS, st.lists(WORDS, max_size=8).map(" ".join)), min_size=1, max_size=4),
    width=st.integers(40, 160),
)
def test_no_name_and_no_figure_is_cut_and_no_line_is_too_long(rows: list[tuple[str, str, str, str]], width: int) -> None:
    table = FittingTable("Model", "Data set", ">Flash", "~How it was measured")
    for row in rows:
        table.add_row(*row)

    lines = shown(table, width)

    assert all(len(line) <= width for line in lines)
    words = [word.rstrip(",") for line in lines for word in line.split()]
    for *whole, _ in rows:
        assert set(whole) <= set(words)


def test_what_fits_is_a_table_of_the_columns_in_which_something_stands() -> None:
    heading, rule, row, caption = shown(jobs("nightly"), 80)
    assert heading.split() == ["Job", "State", "Test", "images", "Name"]
    assert set(rule) == {"\u2500"}
    assert row.split() == ["00000000", "SUCCEEDED", "1,234", "nightly"]
    assert row.index("1,234") + len("1,234") == heading.index("images") + len("images"), "figures end where their heading does"
    assert caption == "All there are"


def test_headings_and_long_texts_are_folded_before_it_is_no_table_any_more() -> None:
    name = "a name of many words that goes on and on and on"
    assert len(shown(jobs(name), 100)) == 4
    folded = shown(jobs(name), 60)
    assert (folded[0].split(), folded[1].split()[-1]) == (["Test"], "Name")
    assert [line.split()[0] for line in folded].count("00000000") == 1
    assert "many words" in " ".join(" ".join(folded).split())


def test_what_does_not_fit_is_a_paragraph_for_each_row() -> None:
    assert shown(jobs("nightly", ""), 35) == [
        "00000000",
        "  State SUCCEEDED, Test images",
        "  1,234, Name nightly",
        "00000001",
        "  State SUCCEEDED, Test images",
        "  1,234",
        "All there are",
    ]


def test_an_empty_table_shows_what_there_could_be() -> None:
    assert shown(jobs(), 80)[0].split() == ["Job", "State", "Stage", "Test", "images", "Name"]


def test_texts_are_no_markup() -> None:
    assert "[red]nightly[/]" in shown(jobs("[red]nightly[/]"), 80)[2]


def test_parts_are_apart() -> None:
    assert shown(spaced(["one", "two", "three"]), 80) == ["one", "", "two", "", "three"]
