"""CPU time of DiCENet over ShuffleNetV2's, both as they are and with `fuse`.

With --authors FOLDER runs the authors' own code, too: FOLDER holds a checkout of sacmehta/EdgeNets
as EdgeNets. Its network gets the weights of ours, and has to give the same scores. The networks
take turns in one process; a ratio is that of the least CPU times, its interval the middle 95 % of
1000 resamplings of the turns. The divisor is torchvision's ShuffleNetV2 with `fuse`, and beside it
the same with its norms folded and nothing else.

Usage: python tests/benchmarks/dicenet_cpu.py [--batch 1 32] [--turns 60 10] [--width 1_0]
    [--authors FOLDER]
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from backbones.build import build
from backbones.fusion import fuse
from backbones.network_names import dicenet_original
from tests.benchmarks.interleaved import cpu_times, inference, ratio

PARTNERS = {"0_5": "x0_5", "1_0": "x1_0", "1_5": "x1_5", "2_0": "x2_0"}
"""ShuffleNetV2 that is as wide."""


def folded(network: nn.Module) -> nn.Module:
    """Fold norms into the convolutions before them, in place, in torchvision's sequences."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for index in range(len(module) - 1):
                conv, norm = module[index], module[index + 1]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[index] = fuse_conv_bn_eval(conv, norm)
                    module[index + 1] = nn.Identity()
    return network


def authors(folder: Path, width: str, ours: nn.Module) -> nn.Module:
    """Return the authors' network with our weights."""
    sys.path.insert(0, str(folder / "EdgeNets"))
    module = importlib.import_module("model.classification.dicenet")
    given = argparse.Namespace(
        s=float(width.replace("_", ".")),
        channels=3,
        num_classes=1000,
        model_width=224,
        model_height=224,
    )
    network: Any = module.CNNModel(given)
    rename, state = dicenet_original(ours), network.state_dict()
    for name, tensor in ours.state_dict().items():
        path, _, last = name.rpartition(".")
        theirs = f"{rename(path)}.{last}"
        state[theirs].copy_(tensor.reshape(state[theirs].shape))
    made: nn.Module = network.eval()
    x = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    with torch.no_grad():
        difference = ours.double()(x) - made.double()(x)
    ours.float(), made.float()
    if difference.norm() > 1e-10:
        raise SystemExit("the authors' network computes something else")
    return made


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = _networks(arguments)
    sys.stdout.write(f"{'network':28} {'batch':>5} {'ms':>8} {'over ShuffleNetV2, fused':>26}\n")
    for batch, turns in zip(arguments.batch, arguments.turns, strict=True):
        x = torch.randn(batch, 3, 224, 224)
        runs = {name: inference(network, x) for name, network in networks.items()}
        times = cpu_times(runs, turns=turns)
        for name, seconds in times.items():
            over = ratio(seconds, times["ShuffleNetV2, fused"])
            sys.stdout.write(f"{name:28} {batch:5} {min(seconds) * 1e3:8.2f} {over:>26}\n")
        sys.stdout.flush()


def _networks(arguments: argparse.Namespace) -> Mapping[str, nn.Module]:
    name = f"shufflenet_v2_{PARTNERS.get(arguments.width, 'x1_0')}"
    shuffle = build(name).eval()
    ours = build(f"dicenet_{arguments.width}").eval()
    networks = {
        "ShuffleNetV2": shuffle,
        "ShuffleNetV2, norms folded": folded(build(name).eval()),
        "ShuffleNetV2, fused": fuse(shuffle),
        "DiCENet": ours,
        "DiCENet, fused": fuse(ours),
    }
    if arguments.authors:
        networks["DiCENet, the authors'"] = authors(
            arguments.authors.resolve(), arguments.width, ours
        )
    return networks


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--turns", type=int, nargs="+", default=[60, 10], help="one for each batch")
    parser.add_argument("--width", default="1_0", help="0_2 to 2_4")
    parser.add_argument("--authors", type=Path, help="folder with a checkout of EdgeNets")
    return parser.parse_args()


if __name__ == "__main__":
    main()
