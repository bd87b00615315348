"""CPU time of networks with gates over their plain network's, fused for inference as trained.

Beside ours stand timm's own gates in the same networks, fused likewise (only its ResNets have a
place for them), and ours without fusion over the plain network without it. With --authors runs the
authors' own code over that, from a folder of checkouts as `released_outputs.py` takes it. The runs
take turns in one process, on one thread; a ratio is that of the least CPU times, its interval the
middle 95 % of 1000 resamplings.

Usage: python tests/benchmarks/attention_cpu.py [--batch 1 32] [--turns 40 7] [--authors FOLDER]
    [--methods se eca cbam] [network ...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import timm
import torch
from torch import nn

from backbones.build import build
from backbones.fusion import fuse
from tests.benchmarks.interleaved import cpu_times, inference, ratio
from tests.benchmarks.released_outputs import made_by_authors

NETWORKS = ("resnet18", "resnet50", "mobilenetv2_100")
METHODS = ("se", "eca", "cbam")
COLUMNS = ("ours, fused", "timm's, fused", "ours", "authors")


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    heads = "".join(f"{head:>22}" for head in COLUMNS)
    sys.stdout.write(f"{'backbone':24} {'batch':>5} {'plain, fused ms':>15}{heads}\n")
    for network in arguments.networks:
        for batch, turns in zip(arguments.batch, arguments.turns, strict=True):
            for line in _measure(network, batch=batch, turns=turns, arguments=arguments):
                sys.stdout.write(line)
                sys.stdout.flush()


def _measure(network: str, *, batch: int, turns: int, arguments: argparse.Namespace) -> list[str]:
    size = arguments.size
    plain = build(network, image_size=size).eval()
    networks = {"plain": plain, "plain, fused": fuse(plain, image_size=size)}
    for method in arguments.methods:
        made = _networks(f"{network}/{method}", arguments)
        networks |= {f"{method}: {name}": each for name, each in made.items()}
    x = torch.randn(batch, 3, size, size)
    times = cpu_times({name: inference(made, x) for name, made in networks.items()}, turns=turns)
    lines = []
    for method in arguments.methods:
        cells = "".join(f"{_cell(times, method, name):>22}" for name in COLUMNS)
        milliseconds = min(times["plain, fused"]) * 1e3
        lines.append(f"{network + '/' + method:24} {batch:5} {milliseconds:15.1f}{cells}\n")
    return lines


def _cell(times: Mapping[str, Sequence[float]], method: str, name: str) -> str:
    found = times.get(f"{method}: {name}")
    if found is None:
        return ""
    return ratio(found, times["plain, fused" if "fused" in name else "plain"])


def _networks(text: str, arguments: argparse.Namespace) -> dict[str, nn.Module]:
    ours = build(text, image_size=arguments.size).eval()
    found = {"ours": ours, "ours, fused": fuse(ours, image_size=arguments.size)}
    network, _, method = text.partition("/")
    if network.startswith("resnet"):
        theirs = timm.create_model(network, block_args={"attn_layer": method}).eval()
        found["timm's, fused"] = fuse(theirs, image_size=arguments.size)
    if arguments.authors:
        released = made_by_authors(arguments.authors.resolve(), text)
        found |= {} if released is None else {"authors": released.eval()}
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--turns", type=int, nargs="+", default=[40, 7], help="one for each batch")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--authors", type=Path, help="folder of checkouts of their repositories")
    return parser.parse_args()


if __name__ == "__main__":
    main()
