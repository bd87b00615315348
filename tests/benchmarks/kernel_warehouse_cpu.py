"""CPU time of KernelWarehouse networks over their plain network's, interleaved in one process.

Usage: python tests/benchmarks/kernel_warehouse_cpu.py [--batch 1 32] [--pairs 9] [backbone ...]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.resolve import resolve

BACKBONES = ("resnet18/kernel_warehouse", "resnet18/kernel_warehouse(budget=4)")


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    sys.stdout.write(
        f"{'backbone':48} {'batch':>5} {'layout':>13} {'plain ms':>9} {'ms':>9} {'ratio':>6}\n"
    )
    for text in arguments.backbones:
        for batch in arguments.batch:
            for layout in (torch.contiguous_format, torch.channels_last):
                plain, dynamic = _pairs(text, batch=batch, layout=layout, arguments=arguments)
                name = str(layout).removeprefix("torch.")
                sys.stdout.write(
                    f"{text:48} {batch:5} {name[:13]:>13} {plain * 1e3:9.1f} {dynamic * 1e3:9.1f} "
                    f"{dynamic / plain:6.2f}\n"
                )
                sys.stdout.flush()


def _pairs(
    text: str, *, batch: int, layout: torch.memory_format, arguments: argparse.Namespace
) -> tuple[float, float]:
    """Return the least CPU seconds of the plain network and of the dynamic one."""
    x = torch.randn(batch, 3, arguments.size, arguments.size).contiguous(memory_format=layout)
    runs = [
        _run(build(name, image_size=arguments.size), x, train=arguments.train)
        for name in (resolve(text).plain, text)
    ]
    least = [float("inf")] * 2
    for _ in range(arguments.pairs + 1):
        for i, run in enumerate(runs):
            before = time.process_time()
            run()
            least[i] = min(least[i], time.process_time() - before)
    return least[0], least[1]


def _run(network: nn.Module, x: Tensor, *, train: bool) -> Callable[[], None]:
    layout = torch.channels_last if not x.is_contiguous() else torch.contiguous_format
    network = network.train(train).to(memory_format=layout)

    def step() -> None:
        with torch.set_grad_enabled(train):
            y = network(x)
            if train:
                torch.autograd.backward(y.square().mean())

    return step


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbones", nargs="*", default=list(BACKBONES))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--train", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
