"""CPU time of networks whose kernels are mixed for each image, over their plain network's.

Beside ours runs the algorithm of the released code, made anew here on the same weights: ODConv
weighs every kernel before it sums them, KernelWarehouse copies assembled cells into the order of a
kernel, and all fold the batch into the groups of one convolution. With --authors runs the authors'
own code instead, from a folder of checkouts as `released_outputs.py` takes it, of one repository
a call. The runs take turns in one process; a ratio is that of the least CPU times, its interval the
middle 95 % of 1000 resamplings of the turns.

Usage: python tests/benchmarks/dynamic_cpu.py [--batch 1 32] [--turns 30 7] [--train]
    [--authors FOLDER] [backbone ...]
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.build import build
from backbones.methods.condconv.operator import CondConv2d
from backbones.methods.dyconv.operator import DynamicConv2d
from backbones.methods.kernel_warehouse.operator import KernelWarehouseConv2d
from backbones.methods.odconv.operator import ODConv2d
from backbones.resolve import resolve
from backbones.sites import Site
from tests.benchmarks.interleaved import cpu_times, ratio
from tests.benchmarks.released_outputs import made_by_authors

BACKBONES = (
    "resnet18/kernel_warehouse",
    "resnet18/kernel_warehouse(budget=4)",
    "resnet50/kernel_warehouse(budget=4)",
    "resnet18/odconv",
    "resnet18/odconv(kernels=4)",
    "resnet18/dyconv",
    "resnet18/condconv",
    "resnet50/odconv(kernels=4)",
    "resnet50/dyconv",
    "mobilenetv2_100/odconv(kernels=4)",
    "mobilenetv2_100/condconv",
    "efficientnet_b0/condconv(experts=4)",
)
LAYOUTS = {"usual": torch.contiguous_format, "channels-last": torch.channels_last}


class ReleasedODConv(nn.Module):
    """As OSVAI/ODConv computes it, without bias."""

    def __init__(self, layer: ODConv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W')."""
        site, gates = self.layer.site, self.layer.attention(x.mean((2, 3)), temperature=1.0)
        if gates.channel is not None:
            x = x * gates.channel[:, :, None, None]
        bank = self.layer.weight.view(
            1, -1, site.out_channels, site.in_channels // site.groups, *site.kernel_size
        )
        if not self.layer.is_dynamic:
            y = functional.conv2d(x, bank[0, 0], None, site.stride, site.padding, (1, 1), 1)
        else:
            if gates.spatial is not None:
                bank = bank * gates.spatial.view(-1, 1, 1, 1, *site.kernel_size)
            if gates.kernel is not None:
                bank = bank * gates.kernel[:, :, None, None, None, None]
            y = in_groups(x, bank.sum(1), site)
        return y if gates.filter is None else y * gates.filter[:, :, None, None]


class ReleasedMixture(nn.Module):
    """As kaijieshi7/Dynamic-convolution-Pytorch and timm compute it, without bias."""

    def __init__(self, layer: DynamicConv2d | CondConv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W')."""
        layer, site = self.layer, self.layer.site
        if isinstance(layer, DynamicConv2d):
            weights = layer.attention(x.mean((2, 3)), temperature=1.0)
        assert weights is not None
        kernels = weights @ layer.weight.flatten(1)
        shape = (site.out_channels, site.in_channels // site.groups, *site.kernel_size)
        return in_groups(x, kernels.view(-1, *shape), site)


class ReleasedKernelWarehouse(nn.Module):
    """As OSVAI/KernelWarehouse computes it, at temperature 0."""

    def __init__(self, layer: KernelWarehouseConv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W')."""
        layer, site = self.layer, self.layer.site
        alpha = layer.attend(x.mean((2, 3)))
        cells_oiK = layer.warehouse.cells
        mixed = alpha.flatten(0, 1) @ cells_oiK.flatten(0, 1).t()
        mixed_NSPQoi = mixed.view(len(x), *layer.assembly.grid, *cells_oiK.shape[:2])
        kernels = mixed_NSPQoi.permute(0, 2, 4, 3, 5, 1).reshape(
            len(x), site.out_channels, site.in_channels // site.groups, *site.kernel_size
        )
        y = in_groups(x, kernels, site)
        return y if layer.bias is None else y + layer.bias.view(-1, 1, 1)


def in_groups(x: Tensor, kernels: Tensor, site: Site) -> Tensor:
    """Convolve all images as the groups of one."""
    y = functional.conv2d(
        x.contiguous().view(1, -1, *x.shape[2:]),
        kernels.flatten(0, 1),
        None,
        site.stride,
        site.padding,
        site.dilation,
        site.groups * x.shape[0],
    )
    return y.view(x.shape[0], -1, *y.shape[2:])


def released(network: nn.Module) -> nn.Module:
    """Return a copy that computes as the released code does."""
    network = copy.deepcopy(network)
    for name, module in list(network.named_modules()):
        if isinstance(module, ODConv2d):
            network.set_submodule(name, ReleasedODConv(module))
        elif isinstance(module, DynamicConv2d | CondConv2d):
            network.set_submodule(name, ReleasedMixture(module))
        elif isinstance(module, KernelWarehouseConv2d):
            network.set_submodule(name, ReleasedKernelWarehouse(module))
    return network


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sys.stdout.write(
        f"{'backbone':36} {'batch':>5} {'plain ms':>9} {'ours':>21} {'released':>21}\n"
    )
    for text in arguments.backbones:
        for batch, turns in zip(arguments.batch, arguments.turns, strict=True):
            times = _measure(text, batch=batch, turns=turns, arguments=arguments)
            ratios = [ratio(times[name], times["plain"]) for name in ("ours", "released")]
            sys.stdout.write(
                f"{text:36} {batch:5} {min(times['plain']) * 1e3:9.1f} {ratios[0]:>21} "
                f"{ratios[1]:>21}\n"
            )
            sys.stdout.flush()


def _measure(
    text: str, *, batch: int, turns: int, arguments: argparse.Namespace
) -> Mapping[str, list[float]]:
    """Return the CPU seconds of each turn, after one to warm up."""
    layout = LAYOUTS[arguments.layout]
    x = torch.randn(batch, 3, arguments.size, arguments.size).contiguous(memory_format=layout)
    # before any code of others, which may register networks of its own under these names
    plain = build(resolve(text).plain, image_size=arguments.size)
    ours = build(text, image_size=arguments.size)
    if arguments.authors:
        theirs = made_by_authors(arguments.authors.resolve(), text)
        if theirs is None:
            raise SystemExit(f"no checkout is known to make {text}")
    else:
        theirs = released(ours)
        _require_equal(ours, theirs, torch.randn(4, 3, 64, 64, dtype=torch.float64))
    networks = {"plain": plain, "ours": ours, "released": theirs}
    runs = {
        name: _run(network.to(memory_format=layout), x, train=arguments.train)
        for name, network in networks.items()
    }
    return cpu_times(runs, turns=turns)


def _require_equal(ours: nn.Module, other: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        y, wanted = (copy.deepcopy(network).double().train()(x) for network in (ours, other))
    # deep networks with random weights make the rounding of sums in another order loud
    if (y - wanted).norm() > 1e-4 * wanted.norm():
        raise SystemExit("the released algorithm, made anew, computes something else")


def _run(network: nn.Module, x: Tensor, *, train: bool) -> Callable[[], None]:
    network.train(train)

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
    parser.add_argument("--turns", type=int, nargs="+", default=[30, 7], help="one for each batch")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--layout", choices=LAYOUTS, default="usual")
    parser.add_argument("--authors", type=Path, help="folder of checkouts of their repositories")
    parser.add_argument("--train", action="store_true", help="forward and backward")
    return parser.parse_args()


if __name__ == "__main__":
    main()
