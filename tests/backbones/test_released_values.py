"""Layers filled from a release compute what the paper's formula makes of the released tensors.

The release's names and layouts are written down here a second time, and the slow references of
each method do the arithmetic, so neither the loader nor the operators are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

import pytest
import torch
from torch import Tensor, nn

from backbones import weights
from backbones.build import build
from backbones.sites import Site
from tests.backbones import reference_kernel_warehouse as kernel_warehouse
from tests.backbones import small_sites
from tests.backbones.closeness import relative_error
from tests.backbones.reference_cgc import context_gated
from tests.backbones.reference_condconv import condconv, condlinear, routing
from tests.backbones.reference_dcd import layer as dcd
from tests.backbones.reference_dyconv import dyconv
from tests.backbones.reference_odconv import Layer as ODConvLayer
from tests.backbones.reference_odconv import odconv
from tests.backbones.reference_weightnet import reduction, weightnet
from tests.backbones.released_lists import named

TOLERANCE = 1e-5
NORM = ("weight", "bias", "running_mean", "running_var")
State = Mapping[str, Tensor]


@cache
def loaded(backbone: str) -> tuple[nn.Module, State]:
    """Our network with drawn weights of the release, and these in float64."""
    given = named(backbone).drawn()
    network = build(backbone).eval()
    weights.load(network, given, backbone=backbone)
    return network, {name: tensor.double() for name, tensor in given.items()}


def taken(state: State, prefix: str, names: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors of a layer by the names of a reference, without dimensions of size 1 at the end."""
    found = {}
    for theirs, ours in names.items():
        parts = NORM if theirs.endswith("*") else ("",)
        for part in parts:
            tensor = state[f"{prefix}.{theirs.removesuffix('*')}{part}"]
            found[ours.removesuffix("*") + part] = tensor
    return found


def matrices(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value.flatten(1) if value.ndim == 4 else value.flatten(2) if value.ndim > 4 else value
        for name, value in state.items()
    }


def assert_equal(layer: nn.Module, reference: Callable[[Tensor], Tensor], *, channels: int) -> None:
    torch.manual_seed(3)
    x = torch.randn(2, channels, 3, 4) + torch.rand(2, channels, 1, 1)
    with torch.no_grad():
        assert relative_error(layer(x), reference(x.double())) <= TOLERANCE


@pytest.mark.parametrize(
    ("backbone", "path", "released", "store", "layer"),
    [
        (
            "mobilenetv2_050/kernel_warehouse(budget=1)",
            "blocks.0.0.conv_pw",
            "features.1.conv.1",
            "warehouse_manager.weights.2",
            kernel_warehouse.Layer(
                small_sites.site((16, 8), kernel=1), (8, 8), 20, 0, 1.0, training=False
            ),
        ),
        (
            "mobilenetv2_050/kernel_warehouse(budget=1)",
            "blocks.2.0.conv_dw",
            "features.4.conv.1.0",
            "warehouse_manager.weights.4",
            kernel_warehouse.Layer(
                small_sites.site((96, 96), padding=1, stride=2, groups=96),
                (96, 1),
                18,
                9,
                1.0,
                training=False,
            ),
        ),
        (
            "resnet50/kernel_warehouse(budget=0.5)",
            "layer1.1.conv1",
            "layer1.1.conv1",
            "warehouse_manager.weights.0",
            kernel_warehouse.Layer(
                small_sites.site((256, 64), kernel=1), (32, 32), 174, 26, 0.5, training=False
            ),
        ),
    ],
)
def test_kernel_warehouse(
    backbone: str, path: str, released: str, store: str, layer: kernel_warehouse.Layer
) -> None:
    network, state = loaded(backbone)
    names = {"fc1.weight": "reduce.weight", "norm1.*": "norm.*"}
    if f"{released}.attention.fc3.weight" in state:
        names |= {
            "fc2.weight": "logits.near.weight",
            "fc3.weight": "logits.far.weight",
            "basis_bias": "logits.offset",
        }
    else:
        names |= {"fc2.weight": "logits.weight", "fc2.bias": "logits.bias"}
    own = {
        f"attention.{name}": value
        for name, value in taken(state, f"{released}.attention", names).items()
    }
    # the reference takes (cell outputs, n, cell inputs)
    own["warehouse.cells"] = state[store].flatten(2).permute(1, 2, 0)
    reference = partial(kernel_warehouse.kernel_warehouse, state=own, layer=layer)
    channels = layer.site.in_channels
    assert_equal(network.get_submodule(path), lambda x: reference(x), channels=channels)


@pytest.mark.parametrize(
    ("path", "released"),
    [("blocks.1.0.conv_dw", "features.2.conv.1.0"), ("blocks.1.0.conv_pwl", "features.2.conv.2")],
)
def test_odconv(path: str, released: str) -> None:
    network, state = loaded("mobilenetv2_050/odconv(kernels=4)")
    layer = network.get_submodule(path)
    names = {"weight": "weight", "attention.fc.weight": "attention.reduce.weight"}
    names["attention.bn.*"] = "attention.norm.*"
    for head in ("channel", "filter", "spatial", "kernel"):
        for part in ("weight", "bias"):
            if f"{released}.attention.{head}_fc.{part}" in state:
                names[f"attention.{head}_fc.{part}"] = f"attention.{head}.{part}"
    own = matrices(taken(state, released, names))
    site = site_of(layer)
    described = ODConvLayer(site, kernels=4, training=False)
    assert_equal(layer, lambda x: odconv(x, own, described), channels=site.in_channels)


def site_of(layer: nn.Module) -> Site:
    site = layer.site
    assert isinstance(site, Site)
    return site


def test_dyconv() -> None:
    network, state = loaded("resnet18/dyconv")
    layer = network.get_submodule("layer2.0.downsample.0")
    names = {
        "weight": "weight",
        "attention.fc1.weight": "attention.reduce.weight",
        "attention.fc2.weight": "attention.logits.weight",
        "attention.fc2.bias": "attention.logits.bias",
    }
    own = matrices(taken(state, "layer2.0.downsample.0", names))
    site = site_of(layer)
    assert_equal(layer, lambda x: dyconv(x, own, site=site, temperature=1.0), channels=64)


@pytest.mark.parametrize(
    ("path", "released", "side", "channels"),
    [
        ("blocks.1.0.conv_pw", "features.2.conv.0", 2, (8, 48)),
        ("blocks.1.0.conv_pwl", "features.2.conv.6", 1, (48, 16)),
    ],
)
def test_dcd(path: str, released: str, side: int, channels: tuple[int, int]) -> None:
    network, state = loaded("mobilenetv2_050/dcd")
    names = {
        "conv.weight": "static.weight",
        "conv_q.weight": "compress.weight",
        "conv_p.weight": "expand.weight",
        "bn1.*": "compress_norm.*",
        "bn2.*": "fuse_norm.*",
        "fc.0.weight": "controller.squeeze.weight",
        "fc.1.fc.0.weight": "controller.gate.weight",
        "fc_phi.weight": "controller.phi.weight",
        "fc_scale.weight": "controller.scale.weight",
    }
    own = taken(state, released, names)
    site = pointwise(path, channels)
    assert_equal(
        network.get_submodule(path),
        lambda x: dcd(x, own, site=site, side=side, training=False),
        channels=channels[0],
    )


def pointwise(name: str, channels: tuple[int, int]) -> Site:
    from backbones.sites import Role

    return Site(name, frozenset(), Role.POINTWISE, 0, 0, "", "conv2d", channels[0], channels[1])


def test_the_classifier_of_dcd() -> None:
    network, state = loaded("mobilenetv2_050/dcd")
    q = state["classifier.0.cls_q.weight"]
    torch.manual_seed(3)
    x = torch.randn(2, 1280)
    wide = x.double()

    def normalised(values: Tensor, norm: str) -> Tensor:
        scale, shift, mean, var = (state[f"classifier.0.{norm}.{part}"] for part in NORM)
        return (values - mean) / (var + 1e-5).sqrt() * scale + shift

    def gate(values: Tensor) -> Tensor:
        return ((values + 3) / 3).clamp(0, 2)

    seen = wide @ state["classifier.0.fc.0.weight"].T
    seen = seen * gate(seen @ state["classifier.0.fc.1.fc.0.weight"].T)
    phi = (seen @ state["classifier.0.fc_phi.weight"].T).view(-1, 32, 32)
    scale = gate(seen @ state["classifier.0.fc_scale.weight"].T)
    few = normalised(wide @ q.T, "bn1")
    mixed = normalised((phi @ few[:, :, None])[..., 0], "bn2") + few
    plain = wide @ state["classifier.0.cls.weight"].T + state["classifier.0.cls.bias"]
    wanted = plain * scale + mixed @ state["classifier.0.cls_p.weight"].T
    with torch.no_grad():
        assert relative_error(network.get_submodule("classifier")(x), wanted) <= TOLERANCE


def test_weightnet() -> None:
    network, state = loaded("shufflenet_v2_weightnet_x0_5/weightnet")
    block = network.get_submodule("stage2.1")
    layer = network.get_submodule("stage2.1.block.branch2.0")
    own = taken(
        state,
        "features.1.wnet1",
        {
            "wn_fc1.weight": "gains.weight",
            "wn_fc1.bias": "gains.bias",
            "wn_fc2.weight": "weight",
        },
    )
    own["gains.weight"] = own["gains.weight"].flatten(1)
    own["weight"] = own["weight"].reshape(24, 2, 12, 1)
    torch.manual_seed(3)
    x = torch.randn(2, 48, 3, 4)
    weight = state["features.1.reduce.weight"].flatten(1)
    seen = reduction(x.double(), weight=weight, bias=state["features.1.reduce.bias"])
    wanted = weightnet(x.double()[:, 24:], seen, own, site=site_of(layer))
    with torch.no_grad():
        reduced = block.get_submodule("router")(x)
        assert relative_error(reduced, seen) <= TOLERANCE
        assert relative_error(layer(x[:, 24:], reduced), wanted) <= TOLERANCE


def test_cgc() -> None:
    network, state = loaded("resnet50/cgc")
    layer = network.get_submodule("conv1")
    names = {
        "weight": "weight",
        "ce.weight": "gate.encode.weight",
        "gd.weight": "gate.decode_input.weight",
        "gd2.weight": "gate.decode_output.weight",
        "ci.weight": "gate.interact.weight",
        "ce_bn.*": "gate.input_norm.*",
        "ci_bn2.*": "gate.interact_norm.*",
        "ci_bn.*": "gate.output_norm.*",
    }
    own = taken(state, "conv1", names)
    site = site_of(layer)
    assert_equal(layer, lambda x: context_gated(x, own, site=site, training=False), channels=3)


def test_condconv() -> None:
    network, state = loaded("mobilenetv2_100/condconv(experts=4)")
    routed = network.get_submodule("blocks.4.1")
    layer = network.get_submodule("blocks.4.1.block.conv_dw")
    own = {"weight": state["features.12.dw.weight"].flatten(2)}
    router = {f"logits.{part}": state[f"features.12.route.fc.{part}"] for part in NORM[:2]}
    torch.manual_seed(3)
    x, inner = torch.randn(2, 96, 3, 4), torch.randn(2, 576, 3, 4)
    rows = torch.stack([routing(i.mean((1, 2)), router, prefix="") for i in x.double()])
    wanted = condconv(inner.double(), rows, own, site=site_of(layer))
    with torch.no_grad():
        routed_rows = routed.get_submodule("router")(x)
        assert relative_error(layer(inner, routed_rows), wanted) <= TOLERANCE


def test_the_classifier_of_condconv() -> None:
    network, state = loaded("mobilenetv2_100/condconv(experts=4)")
    own = {f"router.logits.{part}": state[f"classifier_route.fc.{part}"] for part in NORM[:2]}
    own["weight"] = state["classifier.weight"].flatten(2)
    torch.manual_seed(3)
    x = torch.randn(2, 1280)
    with torch.no_grad():
        y = network.get_submodule("classifier")(x)
    assert relative_error(y, condlinear(x.double(), own)) <= TOLERANCE
