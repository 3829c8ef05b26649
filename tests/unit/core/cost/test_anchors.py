"""Published and hand-derived figures of the zoo networks."""

from __future__ import annotations

import pytest

from secateur.core.cost import Cost, cost_of, layer_costs, shares
from secateur.core.graph import LayerGraph, zoo
from secateur.core.resources import Resource


@pytest.fixture(scope="module")
def vgg16() -> LayerGraph:
    return zoo.build("vgg16", (32, 32, 3), 10)


@pytest.fixture(scope="module")
def resnet56() -> LayerGraph:
    return zoo.build("resnet56", (32, 32, 3), 10)


def convolutions(graph: LayerGraph) -> list[str]:
    return [layer.name for layer in graph if layer.op == "Conv2D"]


def test_vgg16_convolutions(vgg16: LayerGraph) -> None:
    costs = layer_costs(vgg16)
    assert len(convolutions(vgg16)) == 13
    assert sum(costs[name].macs for name in convolutions(vgg16)) == 313_196_544
    assert sum(costs[name].parameters for name in convolutions(vgg16)) == 14_710_464
    assert sum(costs[name].memory_bytes for name in convolutions(vgg16)) / 2**20 == pytest.approx(57.17, abs=0.005)


def test_resnet56_convolutions(resnet56: LayerGraph) -> None:
    costs = layer_costs(resnet56)
    assert sum(costs[name].macs for name in convolutions(resnet56)) == 125_485_056
    assert sum(costs[name].parameters for name in convolutions(resnet56)) == 848_304
    assert sum(costs[name].memory_bytes for name in convolutions(resnet56)) / 2**20 == pytest.approx(5.27, abs=0.005)


def test_whole_networks(vgg16: LayerGraph, resnet56: LayerGraph) -> None:
    batch_norm, logits = 4 * 4_224, 512 * 10 + 10
    vgg = cost_of(vgg16)
    assert vgg.parameters == 14_710_464 + batch_norm + logits
    assert vgg.macs == 313_196_544 + 512 * 10
    assert vgg.flops == 2 * vgg.macs
    assert vgg.weight_bytes == 4 * vgg.parameters
    assert vgg.peak_activation_bytes == 4 * 2 * 32 * 32 * 64  # block1_conv2 reads one feature map and writes another
    resnet = cost_of(resnet56)
    assert round(resnet.macs / 1e6, 2) == 125.49
    # a block's second convolution: the shortcut waits while it reads one feature map and writes another
    assert resnet.peak_activation_bytes == 4 * 3 * 32 * 32 * 16


def test_shares_of_vgg16(vgg16: LayerGraph) -> None:
    """Section 1.4 of the algorithm anchors, to its three digits."""
    found = shares(vgg16)
    assert list(found) == convolutions(vgg16)
    flops = [0.006, 0.121, 0.060, 0.121, 0.060, 0.121, 0.121, 0.060, 0.121, 0.121, 0.030, 0.030, 0.030]
    parameters = [0.000, 0.003, 0.005, 0.010, 0.020, 0.040, 0.040, 0.080] + 5 * [0.160]
    memory = [0.004, 0.007, 0.007, 0.012, 0.021, 0.040, 0.040, 0.079] + 5 * [0.158]
    assert [round(share.flops, 3) for share in found.values()] == flops
    assert [round(share.parameters, 3) for share in found.values()] == parameters
    assert [round(share.memory, 3) for share in found.values()] == memory


@pytest.mark.parametrize("name", zoo.names())
def test_shares_sum_to_one(name: str) -> None:
    found = shares(zoo.build(name, (32, 32, 3), 10)).values()
    for figure in ("parameters", "flops", "memory"):
        assert sum(getattr(share, figure) for share in found) == pytest.approx(1)


def test_residual_shares_leave_the_stream_out(resnet56: LayerGraph) -> None:
    assert all(name.endswith("_conv1") for name in shares(resnet56))


def test_by_resource_covers_what_a_graph_can_tell() -> None:
    cost = Cost(1, 2, 4, 4, 5, 6, 7, 8, 9, ())
    assert set(cost.by_resource()) == set(Resource) - {Resource.LATENCY_MS, Resource.ACCURACY}
    assert cost.by_resource()[Resource.FLOPS] == 4
    assert cost.by_resource()[Resource.RAM_BYTES] == 8
