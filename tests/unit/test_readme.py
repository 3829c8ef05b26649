"""The README's table of settings: every setting, no other, and its default."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from secateur.server.settings import ServerSettings
from secateur.workers.settings import WorkerSettings
from tests.support.stack import ROOT

TABLE = (ROOT / "README.md").read_text().partition("\n## Settings\n")[2].partition("\n## ")[0]
ROWS = [
    (re.findall(r"`(SECATEUR_\w+)`", names), default) for names, default in re.findall(r"^\| (`.+?) \| (.+?) \|", TABLE, re.M)
]
FIELDS: dict[str, FieldInfo] = {
    f"SECATEUR_{name.upper()}": field for name, field in (ServerSettings.model_fields | WorkerSettings.model_fields).items()
}
CLIENT = {name for file in (ROOT / "client").rglob("*.py") for name in re.findall(r'"(SECATEUR_\w+)"', file.read_text())}


def test_the_table_names_every_setting_once() -> None:
    named = [name for names, _ in ROWS for name in names]
    assert sorted(named) == sorted({*FIELDS, *CLIENT})


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_the_table_tells_the_default(name: str) -> None:
    names, told = next(row for row in ROWS if name in row[0])
    default = FIELDS[name].default
    if default in (None, PydanticUndefined):
        return  # said in words
    shown = told if len(names) == 1 else told.split(", ")[names.index(name)]
    assert value(shown.split(" (")[0].strip("`"), default) == default


def value(shown: str, default: Any) -> Any:
    """Returns what a cell of the table shows, as the setting has it."""
    if power := re.fullmatch(r"(\d+)\^(\d+)", shown):
        return int(power[1]) ** int(power[2])
    match default:
        case tuple():
            return tuple(shown.split(","))
        case int() | float():
            return float(shown)
        case _:
            return type(default)(shown)
