"""The plan: what is kept of a network, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from secateur.core.cost import Cost
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, with_widths, zoo
from secateur.core.graph.blocks import drop_blocks
from secateur.core.serial import digest_of, to_data
from secateur.core.specs import PlanMode


@dataclass(frozen=True, slots=True)
class Plan:
    """What is kept of a network: widths, blocks and, where weights are inherited, which channels. Or a stock network instead.

    Serialise it with `secateur.core.serial`.

    Args:
        architecture: Digest of the unpruned graph.
        mode: How it was decided where to cut.
        seed: Seed of the planner.
        widths: Channels kept by group of the network without the dropped blocks; a group is named after its first producer.
        unpruned_widths: Channels of the unpruned network, same keys.
        cost: Predicted cost of the pruned network.
        stock: Zoo network that takes the place of the unpruned one; empty for none. Such a plan has no widths.
        dropped: Names of the residual blocks that go, in execution order.
        indices: Which channels stay by group, ascending, where their weights are inherited. Empty where training starts from
            scratch, so that only their number matters.
    """

    architecture: str
    mode: PlanMode
    seed: int
    widths: Mapping[str, int]
    unpruned_widths: Mapping[str, int]
    cost: Cost
    stock: str = ""
    dropped: tuple[str, ...] = ()
    indices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the plan, hexadecimal."""
        data = to_data(self)
        for later in ("stock", "dropped", "indices"):
            if not data[later]:
                del data[later]  # digests of plans from before these existed stay what they are
        return digest_of(data)

    @property
    def changes_nothing(self) -> bool:
        """Whether the network stays as it is."""
        return not self.stock and not self.dropped and self.widths == self.unpruned_widths

    def apply(self, graph: LayerGraph) -> LayerGraph:
        """Returns the pruned network, or the stock network in its place.

        Args:
            graph: The unpruned network that the plan was made for.

        Raises:
            InvalidArgument: PLAN_MISMATCH, if it is another network.
        """
        shallow = self.shallow(graph)
        return zoo.build(self.stock, graph.input_shape, graph.classes) if self.stock else with_widths(shallow, self.widths)

    def shallow(self, graph: LayerGraph) -> LayerGraph:
        """Returns the network without the dropped blocks, at full width: what weights are inherited by.

        Args:
            graph: The unpruned network that the plan was made for.

        Raises:
            InvalidArgument: PLAN_MISMATCH, if it is another network.
        """
        if graph.digest != self.architecture:
            raise InvalidArgument(
                "PLAN_MISMATCH",
                f"The plan was made for the architecture {self.architecture[:16]}. Received: {graph.digest[:16]}",
                field="plan.architecture",
            )
        return drop_blocks(graph, self.dropped) if self.dropped else graph
