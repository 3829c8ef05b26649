"""The workbench of the planners: a network whose groups are being narrowed, and how far that is from its limits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Final

from secateur.core.cost import Cost, CostModel
from secateur.core.devices import DeviceProfile
from secateur.core.graph import ChannelGroup, LayerGraph, Residual, channel_groups
from secateur.core.planning.widths import WidthRule
from secateur.core.resources import Resource

_GLOBAL: Final = frozenset({Resource.RAM_BYTES})
"""Resources of which a group's load depends on all widths, not only on those of the group and of what it reads."""


def go_on_for_ever() -> None:
    """Lets planning take as long as it takes."""


class Bench:
    """Present widths of the groups that may be cut, and what follows from them.

    Args:
        graph: The unpruned network.
        rule: Allowed widths.
        residual: Whether the widths of residual streams stay or shrink as well.
        go_on: Called before every change of widths; what it raises ends the planning.
    """

    def __init__(
        self,
        graph: LayerGraph,
        rule: WidthRule,
        residual: Residual = Residual.SKIP,
        go_on: Callable[[], None] = go_on_for_ever,
    ) -> None:
        go_on()
        self.go_on = go_on
        found = channel_groups(graph, residual=residual)
        groups = tuple(group for group in found if group.prunable)
        self.rule = rule
        self.full: Mapping[str, int] = {group.name: group.width for group in groups}
        self.smallest: Mapping[str, int] = {name: rule.smallest(width) for name, width in self.full.items()}
        self._frozen = tuple(group for group in found if not group.prunable)
        self._model = CostModel(graph, groups)
        self._concerned = _concerned(graph, groups)
        self._loads: dict[Resource, dict[str, float]] = {}
        self._outdated: set[str] = set()

    def under(self, rule: WidthRule) -> Bench:
        """Returns a workbench of the same network under another rule.

        The two share one network and its widths: before turning from one to the other, set the widths with `set_widths`.

        Args:
            rule: Allowed widths.
        """
        other = copy.copy(self)
        other.rule = rule
        other.smallest = {name: rule.smallest(width) for name, width in self.full.items()}
        other._loads, other._outdated = {}, set()  # noqa: SLF001  of the same class
        return other

    @property
    def widths(self) -> Mapping[str, int]:
        """Present width of every group."""
        return self._model.widths

    def set_width(self, group: str, width: int) -> None:
        """Changes the width of one group."""
        self.go_on()
        self._model.set_width(group, width)
        self._outdated.update(self._concerned[group])

    def set_widths(self, widths: Mapping[str, int]) -> None:
        """Changes the widths of all groups."""
        self.go_on()
        self._loads.clear()
        if widths is self.full:
            self._model.reset()
            return
        for name, width in widths.items():
            if self._model.widths[name] != width:
                self._model.set_width(name, width)

    def cost(self) -> Cost:
        """Returns all present figures."""
        return self._model.cost()

    def heaviest_layer(self, resource: Resource) -> str:
        """Returns the layer that takes most of a resource at present."""
        return self._model.heaviest_layer(resource)

    def heaviest_frozen(self, resource: Resource) -> ChannelGroup | None:
        """Returns the group that takes most of a resource at present of those that may not be cut; None if all may."""
        return max(self._frozen, key=lambda group: self._model.held(group.members, resource), default=None)

    def value(self, resource: Resource, profile: DeviceProfile | None) -> float:
        """Returns the present value of a resource.

        Args:
            resource: A resource that can be predicted.
            profile: Class of hardware that latency and RAM are about; None for a micro-controller's RAM.
        """
        if resource is Resource.RAM_BYTES and profile is not None:
            return profile.working_memory(self._model.value(Resource.FLASH_BYTES), self._model.value(resource))
        if resource is Resource.LATENCY_MS:
            assert profile is not None, "absolute_budget refuses latency limits without a profile"
            return self._model.latency_ms(profile)
        return self._model.value(resource)

    def narrow(self, group: str) -> None:
        """Cuts a group by one step."""
        self.set_width(group, self.rule.narrower(self.widths[group], self.full[group]))

    def loads(self, resource: Resource) -> Mapping[str, float]:
        """Returns what every group holds of a resource; 0 for those that cannot be cut any more."""
        if resource in _GLOBAL:
            return {name: self._load(name, resource) for name in self.full}
        for known, loads in self._loads.items():
            for name in self._outdated:
                loads[name] = self._load(name, known)
        self._outdated.clear()
        if resource not in self._loads:
            self._loads[resource] = {name: self._load(name, resource) for name in self.full}
        return self._loads[resource]

    def _load(self, group: str, resource: Resource) -> float:
        return self._model.load(group, resource) if self._model.widths[group] > self.smallest[group] else 0


def _concerned(graph: LayerGraph, groups: tuple[ChannelGroup, ...]) -> dict[str, tuple[str, ...]]:
    """Returns, per group, the groups with layers that it changes: those that share a layer with it or read one of its own."""
    carried: dict[str, set[str]] = {}
    for group in groups:
        for name in group.members:
            carried.setdefault(name, set()).add(group.name)
    found = {group.name: {group.name} for group in groups}
    for group in groups:
        for name in group.members:
            for source in (name, *graph[name].inputs):
                for other in carried.get(source, ()):
                    found[other].add(group.name)
    return {name: tuple(group for group in found if group in others) for name, others in found.items()}
