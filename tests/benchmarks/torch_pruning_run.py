"""Prunes VGG-16 and ResNet-56 to a share of their FLOPs with Torch-Pruning; run by `planning.py` where that is installed.

`python torch_pruning_run.py '{"vgg16": 0.1033, "resnet56": 0.5}'` prints one JSON row per network and way:
"400 steps" prunes a little at a time and counts after each step until the target is reached, which is how the library's own
CIFAR benchmark reaches a FLOPs target; "1 step" is told the channel ratio that about reaches it, and counts once.
"""

# mypy: ignore-errors
# What it imports is installed in an environment of its own.

import json
import sys
import time

import torch
import torch_pruning as tp
from torch import nn

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


def vgg16() -> nn.Module:
    layers, width = [], 3
    for entry in VGG16:
        if entry == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [conv(width, entry), nn.ReLU()]
            width = entry
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 2 if inputs != outputs else 1
        self.first, self.second = conv(inputs, outputs, 3, stride), conv(outputs, outputs)
        self.shortcut = conv(inputs, outputs, 1, stride) if stride == 2 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


def resnet56() -> nn.Module:
    blocks, width = [], 16
    for filters in (16, 32, 64):
        for _ in range(9):
            blocks.append(Block(width, filters))
            width = filters
    return nn.Sequential(conv(3, 16), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def prune(build, target: float, steps: int) -> dict:
    model, example = build().eval(), torch.randn(1, 3, 32, 32)
    base, _ = tp.utils.count_ops_and_params(model, example)
    start = time.process_time()
    pruner = tp.pruner.BasePruner(
        model,
        example,
        importance=tp.importance.RandomImportance(),
        pruning_ratio=1 - target**0.5 if steps == 1 else 1.0,
        iterative_steps=steps,
        global_pruning=steps > 1,
        ignored_layers=[layer for layer in model.modules() if isinstance(layer, nn.Linear)],
    )
    done = 0
    while True:
        pruner.step()
        done += 1
        macs, _ = tp.utils.count_ops_and_params(model, example)
        if macs <= target * base or done == steps:
            break
    return {
        "way": f"{steps} step{'s' * (steps > 1)}",
        "steps_taken": done,
        "flops_share": macs / base,
        "seconds": time.process_time() - start,
    }


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    prune(vgg16, 0.5, 1)  # warms up what is loaded on first use
    builders = {"vgg16": vgg16, "resnet56": resnet56}
    rows = [
        {"network": name, "target": target, **prune(builders[name], target, steps)}
        for name, target in json.loads(sys.argv[1]).items()
        for steps in (400, 1)
    ]
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
