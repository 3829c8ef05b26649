"""What networks and layers cost: the values that the rest of the package computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from secateur.core.cost import energy
from secateur.core.cost.latency import Work
from secateur.core.resources import Resource


@dataclass(frozen=True, slots=True)
class Cost:
    """What one inference of a network costs, counted from its layer graph.

    The counts are exact for the graph; flash and RAM predict what exporter and interpreter will show, energy is an estimate.

    Args:
        parameters: Weights, trained or not; equals Keras's `count_params()`.
        macs: Multiply-accumulates of convolutions and dense layers. Batch normalisation, activations, pooling and merges
            count none: they are folded into a neighbour or negligible.
        flops: 2 x MACs.
        weight_bytes: All weights at 32 bit.
        memory_bytes: Seed A, Eq. 5 reading (b): all weights and every output of a convolution or dense layer, at 32 bit.
        peak_activation_bytes: Most bytes of tensors alive at once over the execution order, at 32 bit; value-by-value layers
            work in place where they are the only reader.
        flash_bytes: Predicted size of the LiteRT int8 file.
        ram_bytes: Predicted tensor arena of TensorFlow Lite Micro for that file, on a 64-bit host.
        flash_float32_bytes: Predicted size of the LiteRT float32 file.
        work: What every layer of the int8 file does; latency is predicted from it (`predict_latency_ms`).
    """

    parameters: int
    macs: int
    flops: int
    weight_bytes: int
    memory_bytes: int
    peak_activation_bytes: int
    flash_bytes: int
    ram_bytes: int
    flash_float32_bytes: int
    work: tuple[Work, ...] = field(repr=False)

    @property
    def energy_paper_uj(self) -> float:
        """Estimated energy in microjoule with the constants of seed A's tool, see `secateur.core.cost.energy`."""
        return energy.paper(self.macs, self.memory_bytes).total

    @property
    def energy_horowitz_uj(self) -> float:
        """Estimated energy in microjoule with the constants of Horowitz at 32 bit, see `secateur.core.cost.energy`."""
        return energy.horowitz(self.macs, self.memory_bytes).total

    @property
    def activation_bytes(self) -> int:
        """Seed A, Eq. 5 reading (a): every output of a convolution or dense layer, at 32 bit."""
        return self.memory_bytes - self.weight_bytes

    def by_resource(self) -> dict[Resource, float]:
        """Returns the figures that a budget can limit. Latency needs a device profile, accuracy a trained network."""
        return {
            Resource.PARAMETERS: self.parameters,
            Resource.MACS: self.macs,
            Resource.FLOPS: self.flops,
            Resource.MEMORY_BYTES: self.memory_bytes,
            Resource.ACTIVATION_BYTES: self.activation_bytes,
            Resource.FLASH_BYTES: self.flash_bytes,
            Resource.RAM_BYTES: self.ram_bytes,
        }


class LayerCost(NamedTuple):
    """What one layer adds to the cost of its network.

    Args:
        parameters: Its weights, trained or not.
        macs: Its multiply-accumulates.
        memory_bytes: Its term of Eq. 5 (b), see `Cost.memory_bytes`.
        flash_bytes: What its channels and weights add to the int8 file; the fixed part of its operator is left out.
        arena_bytes: What its channels add to the persistent part of the arena, tensors left out.
    """

    parameters: int = 0
    macs: int = 0
    memory_bytes: int = 0
    flash_bytes: int = 0
    arena_bytes: int = 0

    @property
    def activation_bytes(self) -> int:
        """Its term of Eq. 5 (a): its output at 32 bit, if it is a convolution or dense layer."""
        return self.memory_bytes - 4 * self.parameters

    def __add__(self, other: LayerCost) -> LayerCost:  # type: ignore[override]  # sums, where tuples would chain
        return LayerCost(
            self.parameters + other.parameters,
            self.macs + other.macs,
            self.memory_bytes + other.memory_bytes,
            self.flash_bytes + other.flash_bytes,
            self.arena_bytes + other.arena_bytes,
        )


@dataclass(frozen=True, slots=True)
class LayerShare:
    """Shares of one prunable layer among all prunable layers, each in [0, 1] (seed A, Eqs. 4, 6 and 8).

    Args:
        parameters: Share of the parameters.
        flops: Share of the FLOPs, which is also that of the MACs.
        memory: Share of the memory of Eq. 5 (b).
    """

    parameters: float
    flops: float
    memory: float
