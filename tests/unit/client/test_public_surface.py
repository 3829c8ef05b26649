"""What the SDK promises: its names, and what importing it costs."""

from __future__ import annotations

import inspect
import types

import secateur.client
from secateur.client import aio, datasets, jobs, recipes, values


def test_exported_names_are_sorted_and_there() -> None:
    assert secateur.client.__all__ == sorted(secateur.client.__all__)
    assert aio.__all__ == sorted(aio.__all__)
    for name in secateur.client.__all__:
        assert getattr(secateur.client, name).__doc__, name


def test_nothing_public_is_left_out() -> None:
    public = {name for name, value in vars(secateur.client).items() if not name.startswith("_") and inspect.isclass(value)}
    assert public <= set(secateur.client.__all__)
    for module in (datasets, jobs, recipes, values):
        own = {name for name, kind in vars(module).items() if inspect.isclass(kind) and kind.__module__ == module.__name__}
        assert own <= set(secateur.client.__all__)


def test_both_clients_have_the_same_calls() -> None:
    for sync, awaited in (
        (secateur.client.Client, aio.Client),
        (secateur.client.Job, aio.Job),
        (secateur.client.Model, aio.Model),
    ):
        assert _calls(sync) == _calls(awaited) - {"get"}


def test_a_blocking_call_is_documented_as_the_one_it_blocks_on() -> None:
    assert inspect.signature(secateur.client.Client.submit) == inspect.signature(aio.Client.submit)
    assert secateur.client.Client.submit.__doc__ == aio.Client.submit.__doc__


def _calls(kind: type) -> set[str]:
    return {
        name
        for name, value in inspect.getmembers(kind, lambda value: isinstance(value, types.FunctionType | types.MethodType))
        if not name.startswith("_")
    }
