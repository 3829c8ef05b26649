"""Layer graphs: Hypothesis strategies for random chains of the blocks that CNNs are made of, and ResNet-56 at any width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from hypothesis import strategies as st

from secateur.core.graph import LayerGraph
from secateur.core.graph.assembly import Builder

_WIDTHS: Final = st.integers(2, 12)


@st.composite
def layer_graphs(draw: st.DrawFn, *, max_blocks: int = 6, every_kind: bool = False) -> LayerGraph:
    """Random classifiers with at least one group to prune: plain, residual, gated, grouped, depthwise, concatenated parts.

    Args:
        draw: Given by Hypothesis.
        max_blocks: Most blocks.
        every_kind: Also blocks whose sliced network is not the masked one: shared weights, normalisation over channels.
    """
    side = draw(st.integers(4, 12))
    net = Builder("random", (side, side, draw(st.integers(1, 3))))
    net.add("Conv2D", "stem", filters=draw(_WIDTHS), kernel_size=3, padding="same")
    net.add("ReLU", "stem_relu")
    stream = "stem_relu"
    for number in range(draw(st.integers(0, max_blocks))):
        block = draw(st.sampled_from(_BLOCKS + _FURTHER_BLOCKS if every_kind else _BLOCKS))
        stream = block(draw, net, f"block{number}", stream)
    net.add(draw(st.sampled_from(["Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"])), "head", stream)
    if draw(st.booleans()):
        net.add("Dense", "hidden", units=draw(_WIDTHS), activation="relu")
    net.add("Dense", "logits", units=draw(st.integers(2, 10)))
    return net.build()


def _plain(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    net.add(
        "Conv2D",
        f"{name}_conv",
        stream,
        filters=draw(_WIDTHS),
        kernel_size=draw(st.sampled_from([1, 3, [1, 3]])),
        strides=draw(st.integers(1, 2)),
        padding="same",
        use_bias=draw(st.booleans()),
        activation=draw(st.sampled_from(["linear", "relu"])),
    )
    return net.add("BatchNormalization", f"{name}_bn", scale=draw(st.booleans()))


def _pool(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    return net.add(draw(st.sampled_from(["MaxPooling2D", "AveragePooling2D"])), f"{name}_pool", stream, padding="same")


def _depthwise(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    multiplier = draw(st.integers(1, 2))
    net.add("DepthwiseConv2D", f"{name}_depthwise", stream, kernel_size=3, padding="same", depth_multiplier=multiplier)
    return net.add("ReLU", f"{name}_relu", max_value=6.0)


def _separable(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    return net.add("SeparableConv2D", f"{name}_separable", stream, filters=draw(_WIDTHS), kernel_size=3, padding="same")


def _residual(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    """A bottleneck whose width does not have to match; the shortcut is a projection."""
    width, stride = draw(_WIDTHS), draw(st.integers(1, 2))
    net.add("Conv2D", f"{name}_conv1", stream, filters=draw(_WIDTHS), kernel_size=3, strides=stride, padding="same")
    branch = net.add("Conv2D", f"{name}_conv2", filters=width, kernel_size=1)
    shortcut = net.add("Conv2D", f"{name}_projection", stream, filters=width, kernel_size=1, strides=stride, use_bias=False)
    return net.add("Add", f"{name}_add", shortcut, branch)


def _identity(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    """Two convolutions whose outputs are merged; the second takes the first, so the first has two consumers."""
    width = draw(_WIDTHS)
    one = net.add("Conv2D", f"{name}_conv1", stream, filters=width, kernel_size=1)
    other = net.add("Conv2D", f"{name}_conv2", one, filters=width, kernel_size=3, padding="same")
    return net.add(draw(st.sampled_from(["Add", "Average", "Maximum"])), f"{name}_merge", one, other)


def _inception(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    one = net.add("Conv2D", f"{name}_one", stream, filters=draw(_WIDTHS), kernel_size=1)
    other = net.add("Conv2D", f"{name}_other", stream, filters=draw(_WIDTHS), kernel_size=3, padding="same")
    net.add("Concatenate", f"{name}_concat", *draw(st.permutations([one, other])))
    return net.add("SpatialDropout2D", f"{name}_dropout", rate=0.1)


def _gate(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    """Squeeze and excitation."""
    width = draw(_WIDTHS)
    features = net.add("Conv2D", f"{name}_conv", stream, filters=width, kernel_size=1)
    net.add("GlobalAveragePooling2D", f"{name}_squeeze", features)
    net.add("Reshape", f"{name}_reshape", target_shape=[1, 1, width])
    net.add("Dense", f"{name}_reduce", units=draw(_WIDTHS), activation="relu")
    excitation = net.add("Dense", f"{name}_expand", units=width, activation="sigmoid")
    return net.add("Multiply", f"{name}_gate", features, excitation)


def _grouped(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    net.add("Conv2D", f"{name}_in", stream, filters=4, kernel_size=1)
    return net.add("Conv2D", f"{name}_grouped", filters=2 * draw(_WIDTHS), kernel_size=3, padding="same", groups=2)


def _option_a(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    narrow, missing = draw(_WIDTHS), draw(_WIDTHS)
    shortcut = net.add("Conv2D", f"{name}_narrow", stream, filters=narrow, kernel_size=1)
    padded = net.add("ZeroPadding2D", f"{name}_pad", padding=[[0, 0], [0, missing]], data_format="channels_first")
    wide = net.add("Conv2D", f"{name}_wide", shortcut, filters=narrow + missing, kernel_size=3, padding="same")
    return net.add("Add", f"{name}_add", padded, wide)


def _shared(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    """A convolution and its normalisation that are called twice."""
    config: dict[str, Any] = {"filters": draw(_WIDTHS), "kernel_size": 3, "padding": "same"}
    before = net.add("Conv2D", f"{name}_before", stream, filters=config["filters"], kernel_size=1)
    net.add("Conv2D", f"{name}_conv", before, **config)
    again = net.add("BatchNormalization", f"{name}_bn")
    net.add("Conv2D", f"{name}_conv_call2", again, shares=f"{name}_conv", **config)
    return net.add("BatchNormalization", f"{name}_bn_call2", shares=f"{name}_bn")


def _upsampled(draw: st.DrawFn, net: Builder, name: str, stream: str) -> str:
    padding = draw(st.sampled_from(["same", "valid"]))
    net.add("Conv2DTranspose", f"{name}_conv", stream, filters=draw(_WIDTHS), kernel_size=3, strides=2, padding=padding)
    net.add("MaxPooling2D", f"{name}_pool", pool_size=3, padding="same")
    return net.add(draw(st.sampled_from(["LayerNormalization", "PReLU", "Identity"])), f"{name}_after")


_BLOCKS: Final[tuple[Callable[[st.DrawFn, Builder, str, str], str], ...]] = (
    _plain, _pool, _depthwise, _separable, _residual, _identity, _inception, _gate, _grouped, _option_a,
)  # fmt: skip
_FURTHER_BLOCKS: Final[tuple[Callable[[st.DrawFn, Builder, str, str], str], ...]] = (_shared, _upsampled)


def resnet56(widths: Sequence[int] = (16, 32, 64), *, projected: bool = False) -> LayerGraph:
    """The zoo's ResNet-56 at other widths, or with projections between its stages, whose streams can be narrowed."""
    net = Builder("resnet56", (32, 32, 3))
    conv: dict[str, Any] = {"kernel_size": 3, "padding": "same", "use_bias": False}
    net.add("Conv2D", "stem", filters=widths[0], **conv)
    net.add("BatchNormalization", "stem_bn")
    stream, width = net.add("ReLU", "stem_relu"), widths[0]
    for stage, filters in enumerate(widths, start=1):
        for number in range(1, 10):
            name, stride = f"stage{stage}_block{number}", 1 if filters == width else 2
            net.add("Conv2D", f"{name}_conv1", stream, filters=filters, strides=stride, **conv)
            net.add("BatchNormalization", f"{name}_conv1_bn")
            net.add("ReLU", f"{name}_relu1")
            net.add("Conv2D", f"{name}_conv2", filters=filters, **conv)
            branch = net.add("BatchNormalization", f"{name}_conv2_bn")
            if stride == 2 and projected:
                stream = net.add("Conv2D", f"{name}_shortcut", stream, filters=filters, strides=2, **conv | {"kernel_size": 1})
            elif stride == 2:
                more = filters - width
                stream = net.add("AveragePooling2D", f"{name}_shortcut", stream, pool_size=1, strides=2)
                padding = [[0, 0], [more // 2, more - more // 2]]
                stream = net.add("ZeroPadding2D", f"{name}_shortcut_pad", padding=padding, data_format="channels_first")
            net.add("Add", f"{name}_add", stream, branch)
            stream, width = net.add("ReLU", f"{name}_relu2"), filters
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10)
    return net.build()
