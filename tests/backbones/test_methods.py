"""What every installed method must do, whoever wrote it. A new folder is tested without an edit."""

from __future__ import annotations

import copy
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backbones import method as registry
from backbones import network as networks
from backbones.build import build
from backbones.check import check
from backbones.errors import UnsupportedNetworkError
from backbones.fusion import fuse
from backbones.methods.eca.operator import EfficientChannelAttention
from backbones.resolve import PLAIN, resolve
from backbones.sites import Slot, sites
from tests.backbones.closeness import relative_error

NETWORKS = ("resnet18(stem=small)", "mobilenetv2_050")
"""A network with strided 3x3 convolutions and shortcuts, and one with depthwise convolutions."""
ODD_SIDE = 33
"""Odd, and every strided layer of both networks sees an odd map."""
GATE = "eca"

METHODS = tuple(registry.modules())


def served(method: str) -> list[str]:
    """Return the backbones of this method that can be built; the empty list fails a test below."""
    texts = []
    for network in NETWORKS:
        try:
            texts.append(str(check(f"{network}/{method}")))
        except UnsupportedNetworkError:
            continue
    return texts


BACKBONES = tuple(text for method in METHODS for text in served(method))


@cache
def _built(text: str, seed: int) -> nn.Module:
    return build(text, classes=10, image_size=ODD_SIDE, seed=seed)


def shaken(text: str, *, seed: int = 0) -> nn.Module:
    """Build a network whose every part matters: norms that begin with a zero are moved off it."""
    network = copy.deepcopy(_built(text, seed))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.parameters():
            noise = torch.randn(value.shape, generator=generator)
            spread = float(value.square().mean().sqrt()) if value.ndim > 1 else 1.0
            value.add_(noise, alpha=0.1 * spread)
    return network.eval()


def images(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(count, 3, ODD_SIDE, ODD_SIDE, generator=generator)


# --- what can be known without torch ---------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_the_contract_is_filled(name: str) -> None:
    method = registry.get(name)
    assert method.title
    assert method.arxiv == "" or re.fullmatch(r"\d{4}\.\d{4,5}", method.arxiv)
    assert isinstance(method.slot, Slot)
    for field_name, field in method.settings.model_fields.items():
        assert field.description, f"setting {field_name} has no description"
        assert not field.is_required(), f"setting {field_name} has no default"
    assert method.settings.model_config.get("frozen")
    assert method.settings.model_config.get("extra") == "forbid"
    assert import_module(registry.modules()[name]).__doc__, "say which paper and which layers"


@pytest.mark.parametrize("name", METHODS)
def test_presets_name_networks_that_exist_and_settings_that_hold(name: str) -> None:
    for network in registry.get(name).presets:
        networks.require(network)
        assert str(resolve(f"{network}/{name}")) == f"{network}/{name}"


def test_no_method_loads_torch_before_a_network_is_built(repository: Path) -> None:
    code = (
        "import sys\n"
        "from backbones import method\n"
        "for name in method.modules():\n"
        "    method.get(name)\n"
        "    method.published(name)\n"
        "    heavy = {'torch', 'timm', 'torchvision', 'numpy'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} loads {heavy}'\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr


@pytest.mark.parametrize("name", METHODS)
def test_a_plan_takes_sites_and_settings(name: str) -> None:
    assert list(inspect.signature(registry.load_plan(name)).parameters) == ["sites", "settings"]


@pytest.mark.parametrize("name", METHODS)
def test_no_operator_poses_as_a_plain_layer(name: str) -> None:
    module = import_module(f"{registry.modules()[name]}.operator")
    own = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == module.__name__
    ]
    posing = [kind for kind in own if issubclass(kind, nn.Conv2d | nn.Linear)]
    assert not posing, "counters and initialisers would treat it as what it extends"


@pytest.mark.parametrize("name", METHODS)
def test_it_serves_a_network_of_these_tests(name: str) -> None:
    assert served(name), f"{name} serves none of {NETWORKS}; add a small network that it serves"


# --- what it computes ------------------------------------------------------------------------


def shapes(network: nn.Module, blocks: Sequence[str], x: Tensor) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: found.update({name: tuple(out.shape)})
        )
        for name in blocks
    ]
    with torch.no_grad():
        found["logits"] = tuple(network(x).shape)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("text", BACKBONES)
def test_every_block_gives_the_shapes_of_the_plain_network(text: str, training: bool) -> None:
    plain = str(resolve(text).plain)
    blocks = [site.name for site in sites(text) if site.kind == "block"]
    one = images(1)
    wanted = shapes(copy.deepcopy(_built(plain, 0)).train(training), blocks, one)
    network = copy.deepcopy(_built(text, 0)).train(training)
    assert shapes(network, blocks, one) == wanted


@pytest.mark.parametrize("text", BACKBONES)
def test_gradients_reach_every_parameter(text: str) -> None:
    unreached = {name for name, _ in _built(text, 0).named_parameters()}
    for seed in range(3):  # a narrow ReLU may be shut for the images of one seed, not for all
        network = shaken(text, seed=seed).train()
        network(images(2)).square().sum().backward()
        for name, value in network.named_parameters():
            assert value.grad is not None, f"no gradient reaches {name}"
            assert bool(value.grad.isfinite().all()), f"the gradient of {name} is not finite"
            if value.grad.any():
                unreached.discard(name)
        if not unreached:
            return
    pytest.fail(f"gradients are always zero at {sorted(unreached)}")


@pytest.mark.parametrize("text", BACKBONES)
def test_a_seed_decides_the_weights_and_the_output(text: str) -> None:
    first, other = _built(text, 0), _built(text, 1)
    torch.manual_seed(99)
    again = build(text, classes=10, image_size=ODD_SIDE, seed=0)
    for (name, value), same in zip(
        first.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(value, same), f"{name} differs between two builds of one seed"
    with torch.no_grad():
        outputs = [copy.deepcopy(n).train()(images(2)) for n in (first, again, other)]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("text", BACKBONES)
def test_a_state_dict_carries_everything(text: str) -> None:
    network, other = shaken(text), shaken(text, seed=1)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(network(images(2)), other(images(2)))


@pytest.mark.parametrize("text", BACKBONES)
def test_layout_and_precision_do_not_change_the_numbers(text: str) -> None:
    network = shaken(text)
    with torch.no_grad():
        double, x = copy.deepcopy(network).double(), images(2).double()
        wanted = double(x)
        assert wanted.dtype == torch.float64
        # where maps are multiplied by what depends on them, rounding grows from layer to layer
        carried = relative_error(double(x * (1 + 2**-23 * torch.randn_like(x))), wanted)
        plain = network(images(2))
        network.to(memory_format=torch.channels_last)
        last = network(images(2).contiguous(memory_format=torch.channels_last))
    allowed = max(1e-4, 10 * carried)
    assert relative_error(plain, wanted) < allowed
    assert relative_error(last, wanted) < allowed


@pytest.mark.parametrize("text", BACKBONES)
def test_fused_it_computes_the_same(text: str) -> None:
    network = shaken(text).double()
    with torch.no_grad():
        x = images(2).double()
        assert relative_error(fuse(network, image_size=ODD_SIDE)(x), network(x)) < 1e-10


@pytest.mark.parametrize("text", BACKBONES)
def test_mixed_precision_trains(text: str) -> None:
    network = shaken(text).train()
    with torch.autocast("cpu", torch.bfloat16):
        y = network(images(2))
    y.float().square().sum().backward()
    assert bool(y.isfinite().all())
    gradients = [value.grad for value in network.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)


@pytest.mark.parametrize(
    "text", [text for text in BACKBONES if resolve(text).methods[0][0] not in {GATE, PLAIN}]
)
def test_a_gate_can_stand_on_top(text: str) -> None:
    network = build(f"{text}+{GATE}", classes=10, image_size=ODD_SIDE).train()
    gates = [m for m in network.modules() if isinstance(m, EfficientChannelAttention)]
    assert len(gates) == sum(Slot.GATE in site.slots for site in sites(text))
    network(images(2)).square().sum().backward()
    assert all(gate.conv.weight.grad is not None for gate in gates)


@pytest.mark.parametrize("name", METHODS)
def test_it_exports(name: str) -> None:
    network = shaken(served(name)[0])
    exported = torch.export.export(network, (images(2),), strict=True).module()
    with torch.no_grad():
        assert relative_error(exported(images(2)), network(images(2))) < 1e-5
