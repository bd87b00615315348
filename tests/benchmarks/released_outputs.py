"""Compare whole networks with the authors' code: their random weights, loaded here, same images.

Usage: python tests/benchmarks/released_outputs.py FOLDER [--only TEXT] [--images 2] [--size 224]

FOLDER holds checkouts of the repositories under their names: KernelWarehouse (OSVAI), ODConv
(OSVAI), Dynamic-convolution-Pytorch (kaijieshi7), dcd (liyunsheng13), context-gated-convolution
(XudongLinthu), condconv.pytorch (d-li14), ECANet (BangguWu), SPConv.pytorch (qiulinzhang) and
attention-module (Jongchan, images of 224 pixels). Nothing of them is kept here. Each of their
networks is made in a process of its own with random weights and statistics, and saved as its
authors would; `weights.load` reads that file.

Printed are norms of differences of all outputs in evaluation mode, over the norm of the outputs:
ours and theirs in single precision; theirs in single and in double precision, because networks
with random weights make rounding loud; ours and theirs in double precision; and two images'.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import timm.layers
import torch
from torch import nn

from backbones import weights
from backbones.build import build
from backbones.resolve import resolve


@dataclass(frozen=True)
class Case:
    """One network: where it is made, and what it is here."""

    repository: str
    make: Callable[[Path], nn.Module]
    backbone: str


def _kernel_warehouse(config: str, folder: Path) -> nn.Module:
    settings = json.loads((folder / "configs" / config).read_text("utf-8"))
    for place in ("layers", "registry"):  # old places of timm's
        module: Any = types.ModuleType(f"timm.models.{place}")
        module.__dict__.update(vars(timm.layers))
        module.register_model = lambda made: made
        sys.modules[module.__name__] = module
    names = ("reduction", "cell_num_ratio", "cell_inplane_ratio", "cell_outplane_ratio")
    given = {name: settings[name] for name in names if name in settings}
    given |= {
        name: settings[name]
        for name in ("sharing_range", "nonlocal_basis_ratio")
        if name in settings
    }
    made: nn.Module = getattr(importlib.import_module("models"), settings["model"])(**given)
    return made


def _function(module: str, name: str, folder: Path, **given: Any) -> nn.Module:
    del folder
    made: nn.Module = getattr(importlib.import_module(module), name)(**given)
    return made


def _dyconv(name: str, folder: Path) -> nn.Module:
    network = _function("dynamic_models.dy_resnet", name, folder)
    for module in network.modules():
        if "temperature" in vars(module):
            vars(module)["temperature"] = 1
    return network


def _cgc(name: str, folder: Path) -> nn.Module:
    # as published the file uses a name that it does not define
    file = folder / "image-classification/models/layers.py"
    source = file.read_text("utf-8").replace("(num_lat", "(self.num_lat")
    sys.path.insert(0, str(folder / "image-classification"))
    importlib.import_module("models")
    layers: Any = types.ModuleType("models.layers")
    exec(compile(source, str(file), "exec"), layers.__dict__)
    sys.modules["models.layers"] = sys.modules["models"].layers = layers  # type: ignore[attr-defined] # foreign
    return _function("models.imagenet", name, folder)


def cases() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for network, budgets in {
        "resnet18": ("1d4x", "1d2x", "1x", "2x", "4x"),
        "resnet50": ("1d2x", "1x", "4x"),
        "mobilenetv2_050": ("1d2x", "1x", "4x"),
        "mobilenetv2_100": ("1d2x", "1x", "4x"),
        "convnext_tiny": ("1x",),
    }.items():
        folder = network.removesuffix("_tiny")
        for budget in budgets:
            b = {"1d4x": "0.25", "1d2x": "0.5"}.get(budget, budget[0])
            found[f"kw{budget}_{network}"] = Case(
                "KernelWarehouse",
                partial(_kernel_warehouse, f"{folder}/kw{budget}_{network}.json"),
                f"{network}/kernel_warehouse(budget={b})",
            )
        make = partial(_kernel_warehouse, f"{folder}/{network}.json")
        found[f"plain_{network}"] = Case("KernelWarehouse", make, f"{network}/conv")
    make = partial(_function, "models", "mobilenetv2_100")
    found["od_plain_mobilenetv2_100"] = Case("ODConv", make, "mobilenetv2_100/conv")
    for network in ("resnet18", "resnet50", "mobilenetv2_050", "mobilenetv2_100"):
        for kernels in (1, 4):
            make = partial(_function, "models", f"od_{network}", kernel_num=kernels)
            text = f"{network}/odconv(kernels={kernels})"
            found[f"od{kernels}x_{network}"] = Case("ODConv", make, text)
    for network in ("resnet18", "resnet50"):
        found[f"dyconv_{network}"] = Case(
            "Dynamic-convolution-Pytorch", partial(_dyconv, network), f"{network}/dyconv"
        )
        make = partial(_function, "models.imagenet", f"{network}_dcd")
        found[f"dcd_{network}"] = Case("dcd", make, f"{network}/dcd")
    for width in ("050", "100"):
        given: dict[str, Any] = {"width_mult": int(width) / 100, "fc_squeeze": 16}
        make = partial(_function, "models.imagenet", "mobilenetv2_dcd", **given)
        found[f"dcd_mobilenetv2_{width}"] = Case("dcd", make, f"mobilenetv2_{width}/dcd")
    make = partial(_cgc, "cgc_resnet50")
    found["cgc_resnet50"] = Case("context-gated-convolution", make, "resnet50/cgc")
    for experts in (4, 8):
        make = partial(_function, "cond_mobilenetv2", "cond_mobilenetv2", num_experts=experts)
        text = f"mobilenetv2_100/condconv(experts={experts})"
        found[f"condconv{experts}_mobilenetv2_100"] = Case("condconv.pytorch", make, text)
    return {**found, **_attention_cases(), **_spconv_cases()}


def _spconv_cases() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for depth in (18, 34, 50, 101):
        make = partial(_function, "resnet_sp", f"resnet{depth}")
        found[f"spconv_resnet{depth}"] = Case("SPConv.pytorch/code", make, f"resnet{depth}/spconv")
    return found


def made_by_authors(folder: Path, backbone: str) -> nn.Module | None:
    """Return the network that the authors' code makes, or None where none of these has it.

    Args:
        folder: Holds checkouts of the repositories; one of them a process, as they share names.
        backbone: Text of ours.
    """
    wanted = str(resolve(backbone))
    for case in cases().values():
        if str(resolve(case.backbone)) == wanted:
            sys.path.insert(0, str(folder / case.repository))
            made: nn.Module = case.make(folder / case.repository)
            return made
    return None


def _attention_cases() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for depth, kernels in ((18, 3577), (34, 3357), (50, 3557), (101, 3357), (152, 3357)):
        sizes = [int(digit) for digit in str(kernels)]
        make = partial(_function, "models", f"eca_resnet{depth}", k_size=sizes)
        found[f"eca_resnet{depth}"] = Case("ECANet", make, f"resnet{depth}/eca")
    make = partial(_function, "models", "eca_mobilenet_v2")
    found["eca_mobilenetv2_100"] = Case("ECANet", make, "mobilenetv2_100/eca")
    for depth in (18, 34, 50, 101):
        given: dict[str, Any] = {
            "network_type": "ImageNet",
            "num_classes": 1000,
            "att_type": "CBAM",
        }
        make = partial(_function, "MODELS.model_resnet", "ResidualNet", depth=depth, **given)
        found[f"cbam_resnet{depth}"] = Case("attention-module", make, f"resnet{depth}/cbam")
    return found


def _randomise(network: nn.Module, images: torch.Tensor) -> None:
    """Draw what networks start without, and let norms see images so that none loses its signal."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            _redraw(name, parameter)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean over all batches
    network.train()
    with torch.no_grad():
        network(images)
    _shift_statistics(network)


def _redraw(name: str, parameter: torch.Tensor) -> None:
    if name.endswith("gamma") or (parameter.ndim == 1 and name.endswith(".weight")):
        parameter.uniform_(0.5, 1.5)
    elif name.endswith("bias"):
        parameter.normal_(0, 0.1)
    elif "attention" in name:
        parameter.mul_(0.3)  # sharp attentions switch kernels at the slightest difference
    elif parameter.ndim > 3 and parameter.shape[-3:].numel() > 1:
        # what all inputs have in common would drown the rest in deep networks
        parameter.sub_(parameter.mean((-3, -2, -1), keepdim=True))


def _shift_statistics(network: nn.Module) -> None:
    """Make statistics differ from those that the weights would have."""
    for name, norm in network.named_modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            mean, var = norm.running_mean, norm.running_var
            assert mean is not None
            assert var is not None
            if "attention" in name:
                # few samples, much alike: what sets them apart would make any noise loud
                var.add_(mean**2)
                mean.mul_(0.1 * torch.rand_like(mean))
            var.mul_(0.9 + 0.2 * torch.rand_like(var))


def _images(count: int, size: int) -> torch.Tensor:
    """Images of different brightness and contrast, so that no two have the same kernels."""
    brightness, contrast = torch.randn(count, 3, 1, 1), torch.rand(count, 3, 1, 1) + 0.5
    return brightness + contrast * torch.randn(count, 3, size, size)


def _write(case: Case, arguments: argparse.Namespace) -> None:
    """Make their network and keep its weights, some images and what it says about them."""
    repository = (arguments.folder / case.repository).resolve()
    size, into = arguments.size, arguments.into
    sys.path.insert(0, str(repository))
    torch.manual_seed(0)
    network = case.make(repository)
    seen = _images(8, size)
    _randomise(network, seen)
    torch.save({"model": network.state_dict()}, into / "released.pth")
    # what a network makes of images unlike those that its norms saw may have any size
    x = seen[: arguments.images]
    torch.save((x, *_single_and_double(network, x)), into / "outputs.pt")


def _compare(name: str, case: Case, arguments: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory() as place:
        options = [f"--images={arguments.images}", f"--size={arguments.size}", f"--into={place}"]
        command = [sys.executable, "-Wignore", __file__, str(arguments.folder), "--only", name]
        subprocess.run([*command, *options], check=True)
        x, *theirs = torch.load(Path(place) / "outputs.pt")
        network = build(case.backbone, seed=1, image_size=arguments.size).eval()
        fit = weights.load(network, Path(place) / "released.pth", backbone=case.backbone)
    ours = _single_and_double(network, x)
    errors = (
        _error(ours[0], theirs[0]),
        _error(*theirs),
        _error(ours[1], theirs[1]),
        _error(theirs[1][0], theirs[1][1]),
    )
    return f"{case.backbone:45} {fit.tensors:5} " + " ".join(f"{error:9.1e}" for error in errors)


def _single_and_double(network: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    network.eval()
    with torch.no_grad():
        return network(x), network.double()(x.double())


def _error(actual: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((actual.double() - wanted.double()).norm() / wanted.double().norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="part of the names of cases")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--into", type=Path, help="write one case's weights and outputs there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.into:
        _write(cases()[arguments.only], arguments)
        return
    heads = (f"{head:>9}" for head in ("single", "rounding", "double", "images"))
    sys.stdout.write(f"{'backbone':45} {'read':>5} {' '.join(heads)}\n")
    for name, case in cases().items():
        if arguments.only in name:
            sys.stdout.write(_compare(name, case, arguments) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
