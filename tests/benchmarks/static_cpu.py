"""CPU time of static methods over their plain network's, as trained and fused for inference.

Fused methods stand beside the fused plain network (see `backbones.fusion`), and beside one whose
norms are folded and nothing else; unfused ones beside the unfused. With --authors runs the authors'
own code, too, from a folder of checkouts as `released_outputs.py` takes it; nothing of it is fused.
The runs take turns in one process, on one thread; a ratio is that of the least CPU times, its
interval the middle 95 % of 1000 resamplings.

Usage: python tests/benchmarks/static_cpu.py [--batch 1 32] [--turns 30 7] [--authors FOLDER]
    [backbone ...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.fusion import fuse
from backbones.fusion.conv import FoldedConv2d
from backbones.resolve import resolve
from tests.benchmarks.interleaved import cpu_times, inference, ratio
from tests.benchmarks.released_outputs import made_by_authors

BACKBONES = (
    "resnet18/spconv",
    "resnet50/spconv",
    "resnet18/hetconv",
    "resnet18/gwc_pwc",
    "resnet18/depthwise_separable",
    "resnet18/octconv",
    "resnet50/octconv",
    "resnet18/ghost",
    "resnet18/dice",
)


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sys.stdout.write(
        f"{'backbone':28} {'batch':>5} {'plain ms':>9} {'fused ms':>9} {'ours, fused':>21} "
        f"{'over norms folded':>21} {'ours':>21} {'authors':>21}\n"
    )
    for text in arguments.backbones:
        for batch, turns in zip(arguments.batch, arguments.turns, strict=True):
            sys.stdout.write(_row(text, batch=batch, turns=turns, arguments=arguments))
            sys.stdout.flush()


def _row(text: str, *, batch: int, turns: int, arguments: argparse.Namespace) -> str:
    x = torch.randn(batch, 3, arguments.size, arguments.size)
    plain = build(resolve(text).plain, image_size=arguments.size).eval()
    ours = build(text, image_size=arguments.size).eval()
    networks = {
        "plain": plain,
        "ours": ours,
        "plain, fused": fuse(plain, image_size=arguments.size),
        "plain, norms folded": _usual(fuse(plain, image_size=arguments.size)),
        "ours, fused": fuse(ours, image_size=arguments.size),
    }
    if arguments.authors:
        theirs = made_by_authors(arguments.authors.resolve(), text)
        networks |= {} if theirs is None else {"authors": theirs.eval()}
    runs = {name: inference(network, x) for name, network in networks.items()}
    times = cpu_times(runs, turns=turns)
    fused = ratio(times["ours, fused"], times["plain, fused"])
    over_folded = ratio(times["ours, fused"], times["plain, norms folded"])
    of_authors = ratio(times["authors"], times["plain"]) if "authors" in times else ""
    return (
        f"{text:28} {batch:5} {min(times['plain']) * 1e3:9.1f} "
        f"{min(times['plain, fused']) * 1e3:9.1f} {fused:>21} {over_folded:>21} "
        f"{ratio(times['ours'], times['plain']):>21} {of_authors:>21}\n"
    )


def _usual(fused: nn.Module) -> nn.Module:
    """Let convolutions run as the framework runs them, with their norms folded."""
    for module in fused.modules():
        if isinstance(module, FoldedConv2d):
            module.takes_packed = _never  # type: ignore[method-assign]  # for this comparison only
    return fused


def _never(x: Tensor) -> bool:
    del x
    return False


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbones", nargs="*", default=list(BACKBONES))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--turns", type=int, nargs="+", default=[30, 7], help="one for each batch")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--authors", type=Path, help="folder of checkouts of their repositories")
    return parser.parse_args()


if __name__ == "__main__":
    main()
