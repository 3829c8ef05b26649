"""The cost of a network as its channel groups get narrower, kept up to date group by group."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import attrgetter
from typing import Final, TypeVar

from secateur.core.cost import lifetimes, litert
from secateur.core.cost.channels import Channels, channels_of
from secateur.core.cost.figures import Cost, LayerCost
from secateur.core.cost.formulas import BIAS_FLASH_BYTES, CHANNEL_FLASH_BYTES, FLOAT_BYTES, formula_of
from secateur.core.cost.kinds import Extent
from secateur.core.cost.latency import Work, seconds_of
from secateur.core.devices import DeviceProfile
from secateur.core.graph import ChannelGroup, LayerGraph
from secateur.core.resources import Resource

_Key = TypeVar("_Key")
_PARTS: Final[dict[Resource, Callable[[LayerCost], int]]] = {
    Resource.PARAMETERS: attrgetter("parameters"),
    Resource.MACS: attrgetter("macs"),
    Resource.FLOPS: attrgetter("macs"),
    Resource.LATENCY_MS: attrgetter("macs"),
    Resource.MEMORY_BYTES: attrgetter("memory_bytes"),
    Resource.ACTIVATION_BYTES: attrgetter("activation_bytes"),
    Resource.FLASH_BYTES: attrgetter("flash_bytes"),
    Resource.RAM_BYTES: attrgetter("arena_bytes"),
}
"""Which part of a layer's cost makes a resource heavy. Latency follows the MACs wherever memory does not bind."""

_NOTHING: Final = LayerCost()
_SCALE: Final = 2
"""Constants per channel of a batch normalisation that is folded into no kernel: a factor and an offset."""
_PRICES_KEPT: Final = 512
"""Costs of one layer that are kept, one for every pair of widths."""


class CostModel:
    """Costs of a network in the widths of its channel groups.

    Setting a width recomputes only the layers whose input or output channels it changes; sums are kept. The peaks, which
    depend on all tensors at once, are worked out when asked for.

    Args:
        graph: The unpruned network.
        groups: Groups whose widths vary; all start at their full width.
    """

    def __init__(self, graph: LayerGraph, groups: Sequence[ChannelGroup] = ()) -> None:
        self._widths = {group.name: group.width for group in groups}
        self._members = {group.name: group.members for group in groups}
        self._channels = channels_of(graph, groups)
        self._positions = {layer.name: _positions(graph, layer.name, self._channels, self._widths) for layer in graph}
        operators = litert.lower(graph)
        inside = litert.tensors_inside(operators)
        self._extend(graph, inside)
        scales = {operator.layers[0] for operator in operators if graph[operator.layers[0]].op == "BatchNormalization"}
        self._formulas = {
            layer.name: (replace(formula, constants=_SCALE) if layer.name in scales else formula, layer.inputs[0])
            for layer in graph
            if layer.inputs and (formula := formula_of(layer, graph[layer.inputs[0]].output_shape))
        }
        own = {name: (formula, source) for name, (formula, source) in self._formulas.items() if formula.quantises}
        self._kernels = list(own)
        self._calls = [name for name, (formula, _) in self._formulas.items() if formula.shared and formula.multiplies]
        self._inner = [(source, formula.inner) for formula, source in own.values() if formula.inner]
        self._resized = {
            group: [(name, dict(self._channels[name].terms)[group], self._positions[name]) for name in names]
            for group, names in _by_group(self._channels, {name: (name,) for name in self._channels}).items()
        }
        # plans of one network ask for the same widths again: they start alike, and a search comes by them many times
        prices = {name: lru_cache(_PRICES_KEPT)(formula.cost) for name, (formula, _) in self._formulas.items()}
        reading = {name: (name, source) for name, (_, source) in self._formulas.items()}
        self._repriced = {
            group: [(name, prices[name], self._formulas[name][1]) for name in names]
            for group, names in _by_group(self._channels, reading).items()
        }

        tensors = litert.arena_tensors(graph, operators, inside)
        self._owners = {each.name: each.operator.output for each in inside}
        self._frame = litert.frame_of(graph, operators)
        self._arena = lifetimes.GreedyArena(tensors)
        self._arena_steps = lifetimes.steps_of(tensors)
        self._float_steps = lifetimes.steps_of(lifetimes.float_tensors(graph))
        self._weights = {layer.name: layer.shares or layer.name for layer in graph}  # shared ones are read by every call
        self._operators = [
            (operator.layers[0], operator.output, operator.inputs, operator.kind.operators) for operator in operators
        ]
        touching = {place: (*operator.layers, *operator.inputs) for place, operator in enumerate(operators)}
        self._retimed = _by_group(self._channels, touching)
        self._profile: DeviceProfile | None = None
        self._seconds: list[float] = []
        self._stale: set[str] = set()
        self._peak: Sequence[str] = ()

        self._width_of = {name: form.at(self._widths) for name, form in self._channels.items()}
        self._sizes = {name: self._positions[name] * width for name, width in self._width_of.items()}
        self._costs = {name: self._cost_of(name) for name in self._formulas}
        self._total = sum(self._costs.values(), start=LayerCost())
        self._full = dict(self._widths), dict(self._width_of), dict(self._sizes), dict(self._costs), self._total

    @property
    def widths(self) -> Mapping[str, int]:
        """Present width of every group."""
        return self._widths

    @property
    def layer_costs(self) -> Mapping[str, LayerCost]:
        """Present cost of every layer that has weights."""
        return self._costs

    def set_width(self, group: str, width: int) -> None:
        """Changes the width of one group."""
        self._stale.add(group)
        self._peak = ()
        change = width - self._widths[group]
        self._widths[group] = width
        width_of, sizes, costs = self._width_of, self._sizes, self._costs
        for name, factor, positions in self._resized[group]:
            present = width_of[name] = width_of[name] + factor * change
            sizes[name] = positions * present
        parameters, macs, memory, flash, arena = self._total
        for name, price, source in self._repriced[group]:
            # unpacked, as this is where a search spends half of its time
            old_parameters, old_macs, old_memory, old_flash, old_arena = costs[name]
            new = costs[name] = price(width_of[source], width_of[name])
            new_parameters, new_macs, new_memory, new_flash, new_arena = new
            parameters += new_parameters - old_parameters
            macs += new_macs - old_macs
            memory += new_memory - old_memory
            flash += new_flash - old_flash
            arena += new_arena - old_arena
        self._total = LayerCost(parameters, macs, memory, flash, arena)

    def reset(self) -> None:
        """Gives every group its full width back, at a tenth of what setting each would take."""
        widths, width_of, sizes, costs, self._total = self._full
        self._widths.update(widths)
        self._width_of.update(width_of)
        self._sizes.update(sizes)
        self._costs.update(costs)
        self._stale.update(self._widths)
        self._peak = ()

    def value(self, resource: Resource) -> int:
        """Returns the present value of one resource. Raises ValueError for latency and accuracy, which no graph has."""
        total = self._total
        match resource:
            case Resource.PARAMETERS:
                return total.parameters
            case Resource.MACS:
                return total.macs
            case Resource.FLOPS:
                return 2 * total.macs
            case Resource.MEMORY_BYTES:
                return total.memory_bytes
            case Resource.ACTIVATION_BYTES:
                return total.activation_bytes
            case Resource.FLASH_BYTES:
                return self._frame.flash_bytes + total.flash_bytes
            case Resource.RAM_BYTES:
                kept = self._frame.arena_bytes + total.arena_bytes
                return lifetimes.aligned(kept + max(self._arena.size(self._sizes), self._frame.planning_bytes))
        raise ValueError(f"{resource.value} does not follow from the layer graph alone")

    def latency_ms(self, profile: DeviceProfile) -> float:
        """Returns the present predicted time of one inference, in milliseconds.

        Asked again about the same profile, it times only the operators that changed.

        Args:
            profile: Class of hardware that the network runs on.
        """
        if profile is self._profile:
            places = {place for group in self._stale for place in self._retimed[group]}
            for place in places:
                self._seconds[place] = seconds_of(self._work(*self._operators[place]), profile)
        else:
            self._profile = profile
            self._seconds = [seconds_of(self._work(*operator), profile) for operator in self._operators]
        self._stale.clear()
        return 1_000 * sum(self._seconds)

    def cost(self) -> Cost:
        """Returns all present figures."""
        total = self._total
        return Cost(
            parameters=total.parameters,
            macs=total.macs,
            flops=2 * total.macs,
            weight_bytes=FLOAT_BYTES * total.parameters,
            memory_bytes=total.memory_bytes,
            peak_activation_bytes=FLOAT_BYTES * lifetimes.peak(self._float_steps, self._sizes)[0],
            flash_bytes=self.value(Resource.FLASH_BYTES),
            ram_bytes=self.value(Resource.RAM_BYTES),
            flash_float32_bytes=self._flash_float32(),
            work=tuple(self._work(*operator) for operator in self._operators),
        )

    def load(self, group: str, resource: Resource) -> int:
        """Returns how much of a resource sits in a group: in the layers that carry it, not in those that read it.

        Its unit is that of the resource up to a factor that is the same for all groups. For RAM it counts the tensors alive
        at the peak that carry the group, and the persistent data of its layers.
        """
        return self.held(self._members[group], resource)

    def held(self, members: Collection[str], resource: Resource) -> int:
        """Returns what `load` does of any layers."""
        part = _PARTS[resource]
        load: int = sum(part(self._costs[name]) for name in members if name in self._costs)
        if resource is Resource.RAM_BYTES:
            load += sum(self._sizes[name] for name in self._at_peak() if self._owners.get(name, name) in members)
        return load

    def heaviest_layer(self, resource: Resource) -> str:
        """Returns the layer that takes most of a resource at present; for RAM, the one with the largest tensor at the peak."""
        if resource is Resource.RAM_BYTES:
            largest = max(self._at_peak(), key=self._sizes.__getitem__)
            return self._owners.get(largest, largest)
        part = _PARTS[resource]
        return max(self._costs, key=lambda name: part(self._costs[name]))

    def _at_peak(self) -> Sequence[str]:
        if not self._peak:  # every group asks for it at the same widths
            self._peak = lifetimes.peak(self._arena_steps, self._sizes)[1]
        return self._peak

    def _extend(self, graph: LayerGraph, inside: Sequence[litert.Inside]) -> None:
        """Adds channels and positions of the tensors between the operators of single layers."""
        for each in inside:
            layer, output = graph[each.operator.layers[0]], each.operator.output
            channels, positions = self._channels[output], self._positions[output]
            match each.temporary.extent:
                case Extent.INPUT:
                    channels, positions = self._channels[layer.inputs[0]], self._positions[layer.inputs[0]]
                case Extent.INNER:
                    channels = self._channels[layer.inputs[0]].scaled(layer.config["depth_multiplier"])
                case Extent.POSITIONS:
                    channels = Channels(1)
            self._channels[each.name] = channels
            self._positions[each.name] = each.temporary.width * (each.temporary.positions or positions)

    def _flash_float32(self) -> int:
        """Returns the predicted size of the float32 file: every constant at 32 bit, and no scales."""
        width_of = self._width_of
        quantised = sum([width_of[name] for name in self._kernels])
        quantised += sum([inner * width_of[source] for source, inner in self._inner])
        biases = BIAS_FLASH_BYTES * sum([width_of[name] for name in self._calls])
        constants = FLOAT_BYTES * (self._total.flash_bytes - biases - (CHANNEL_FLASH_BYTES - 1) * quantised)
        return self._frame.flash_float32_bytes + constants

    def _work(self, layer: str, output: str, inputs: Sequence[str], operators: int) -> Work:
        costs, sizes = self._costs, self._sizes
        moved = costs.get(self._weights[layer], _NOTHING).parameters + sizes[output]
        for name in inputs:
            moved += sizes[name]
        return Work(costs.get(layer, _NOTHING).macs, moved, operators)

    def _cost_of(self, name: str) -> LayerCost:
        formula, source = self._formulas[name]
        return formula.cost(self._width_of[source], self._width_of[name])


def _positions(graph: LayerGraph, name: str, channels: Mapping[str, Channels], widths: Mapping[str, int]) -> int:
    """Values per channel: rows x columns of a feature map, 1 for a vector."""
    return math.prod(graph[name].output_shape) // channels[name].at(widths)


def _by_group(channels: Mapping[str, Channels], sources: Mapping[_Key, Sequence[str]]) -> dict[str, list[_Key]]:
    """Returns, per group, the keys of `sources` for which the channels of any named layer follow the group's width."""
    found: dict[str, list[_Key]] = {}
    for name, origins in sources.items():
        for group in {group for origin in origins for group, _ in channels[origin].terms}:
            found.setdefault(group, []).append(name)
    return found
