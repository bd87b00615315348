"""Layers with a kernel for each image stay what they are when traced, copied and moved."""

from __future__ import annotations

import copy
import io
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from tests.backbones.closeness import TOLERANCE, errors, relative_error, wanted_of
from tests.backbones.dynamic_layers import Case, cases

PLACE = "bias and dilation"
"""Taken by every method."""
CASES = {
    name: replace(case, temperature=case.variant.temperatures[0])
    for name, case in cases(PLACE).items()
}
BACKENDS = ["aot_eager"]
if shutil.which("g++") or shutil.which("clang++"):
    BACKENDS.append("inductor")

every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def images(count: int, case: Case, *, size: tuple[int, int] = (7, 6)) -> Tensor:
    return torch.randn(count, case.place.in_channels, *size)


def network_of(case: Case) -> nn.Module:
    """A layer between others, in evaluation mode."""
    channels = case.place.out_channels
    layer = case.layer(spread=1.0)
    return nn.Sequential(
        layer, nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 2, 1)
    ).eval()


# --- traced ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "backend",
    [
        # generating code takes many seconds for each layer
        pytest.param(name, marks=[pytest.mark.slow] if name == "inductor" else [])
        for name in BACKENDS
    ],
)
@every
def test_compiled_it_gives_and_learns_the_same(case: Case, backend: str) -> None:
    torch.compiler.reset()
    network = network_of(case)
    compiled = torch.compile(copy.deepcopy(network), backend=backend, fullgraph=True)
    assert isinstance(compiled, nn.Module)
    x = images(3, case)
    with torch.no_grad():
        assert relative_error(compiled(x), network(x)) < TOLERANCE[torch.float32]
    learned = []
    for each in (compiled, network):
        torch.autograd.backward(each.train()(x).square().sum())
        gradients = [value.grad for value in each.parameters()]
        learned.append(torch.cat([g.flatten() for g in gradients if g is not None]))
    assert relative_error(*learned) < TOLERANCE[torch.float32]


@every
def test_exported_without_gradients_it_takes_any_batch_and_size(case: Case) -> None:
    network = network_of(case)
    shapes = ({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)
    with torch.no_grad():
        program = export(network, (images(2, case, size=(9, 8)),), dynamic_shapes=shapes).module()
        for count, size in ((1, (7, 6)), (10, (8, 11))):
            x = images(count, case, size=size)
            assert relative_error(program(x), network(x)) < TOLERANCE[torch.float32]


# --- copied and moved ------------------------------------------------------------------------


def by_pickle(network: nn.Module) -> nn.Module:
    copied: nn.Module = pickle.loads(pickle.dumps(network))
    return copied


def through_file(network: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(network)
    with torch.no_grad():
        for value in other.parameters():
            value.add_(1)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def over_meta(network: nn.Module) -> nn.Module:
    """Without values, allocated anew, drawn anew, and filled."""
    other = copy.deepcopy(network).to("meta").to_empty(device="cpu")
    for module in other.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    other.load_state_dict(network.state_dict())
    return other


def over_double(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).double().float()


def over_training(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).train().eval()


@pytest.mark.parametrize(
    "way", [copy.deepcopy, by_pickle, through_file, over_meta, over_double, over_training]
)
@every
def test_it_comes_back_as_it_went(case: Case, way: Callable[[nn.Module], nn.Module]) -> None:
    network, x = network_of(case), images(3, case)
    with torch.no_grad():
        wanted = network(x)
        other = way(network)
        assert torch.equal(other(x), wanted)
        for value in other.parameters():
            value.zero_()
        assert torch.equal(network(x), wanted), "it shares weights with what it came from"


@every
def test_on_meta_it_has_shapes_and_layout(case: Case) -> None:
    x = images(2, case)
    layer = case.layer()
    wanted = layer(x)
    given = x.to("meta")
    assert layer.to("meta")(given).shape == wanted.shape
    with torch.no_grad():
        assert layer(given).shape == wanted.shape


@pytest.mark.gpu
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    "case",
    (every_case := cases(PLACE, "1x1, stride 2", "depthwise", "uneven")).values(),
    ids=every_case,
)
def test_on_a_gpu_it_is_the_reference_and_comes_back(case: Case, training: bool) -> None:
    case = replace(case, training=training)
    layer, x = case.layer().double(), images(3, case).double()
    wanted = wanted_of(layer, x, case.reference)
    layer.to("cuda")
    for layout in (torch.contiguous_format, torch.channels_last):
        given = x.to("cuda", memory_format=layout)
        layer.zero_grad()
        assert max(errors(layer, given, wanted).values()) < TOLERANCE[torch.float64]
        with torch.no_grad():
            y = layer(given)
        assert relative_error(y, wanted.output) < TOLERANCE[torch.float64]
        assert y.is_contiguous(memory_format=layout)
    with torch.no_grad():
        assert relative_error(layer.cpu()(x), wanted.output) < TOLERANCE[torch.float64]
