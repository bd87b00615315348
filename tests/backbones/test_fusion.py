"""Fused networks compute what they did, with fewer layers, and nothing that is used is folded."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.build import build
from backbones.fusion import fuse
from backbones.fusion.conv import FoldedConv2d
from backbones.fusion.linear import FoldedLinear
from tests.backbones.closeness import TOLERANCE, relative_error

SIDE = 40


def settled(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """Give every norm statistics, scales and shifts that matter, some scales zero or below."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            if module.running_mean is not None and module.running_var is not None:
                module.running_mean.normal_(0, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
            if module.affine:
                nn.init.uniform_(module.weight, -0.5, 1.5, generator=generator)
                nn.init.normal_(module.bias, 0, 0.3, generator=generator)
                with torch.no_grad():
                    module.weight[0] = 0
    return network.eval()


def image(batch: int = 2, *, side: int = SIDE) -> Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(3))


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in network.modules())


def assert_equal(network: nn.Module, x: Tensor) -> nn.Module:
    """Fuse and compare in both precisions; return the fused network in single precision."""
    fused = fuse(network, image_size=x.shape[-1])
    with torch.no_grad():
        assert relative_error(fused(x), network(x)) < TOLERANCE[torch.float32]
        exact = copy.deepcopy(network).double()
        fused_exact = fuse(exact, image_size=x.shape[-1])
        wide = x.double()
        assert relative_error(fused_exact(wide), exact(wide)) < TOLERANCE[torch.float64]
    return fused


@pytest.mark.parametrize(
    "text",
    [
        "resnet18/conv",
        "resnet50/conv",
        "mobilenetv2_050/conv",
        "mobilenetv3_small_050/conv",
        "efficientnet_b0/conv",
        "shufflenet_v2_x0_5/conv",
        "vgg11_bn/conv",
    ],
)
def test_no_norm_remains_of_a_network_of_convolutions(text: str) -> None:
    network = settled(build(text, classes=10, image_size=SIDE))
    assert norms(assert_equal(network, image())) == 0


@pytest.mark.parametrize(
    ("text", "side"),
    [("densenet121/conv", 40), ("convnext_atto/conv", 40), ("deit_tiny_patch16_224/conv", 224)],
)
def test_what_follows_no_layer_stays(text: str, side: int) -> None:
    network = settled(build(text, classes=10, image_size=side))
    fused = assert_equal(network, image(side=side))
    assert norms(fused) <= norms(network)


def test_norms_between_blocks_stay_where_maps_are_used_again() -> None:
    network = settled(build("densenet121/conv", classes=10, image_size=SIDE))
    assert 0 < norms(fuse(network, image_size=SIDE)) < norms(network)


@pytest.mark.parametrize(
    "text",
    [
        "resnet18/dyconv",
        "resnet18/odconv(kernels=4)",
        "resnet18/cgc",
        "resnet18/spconv",
        "resnet18/spconv(fusion=sum)",
        "resnet18/spconv(pointwise=false)",
        "resnet18/hetconv",
        "resnet18/gwc_pwc",
        "resnet18/octconv",
        "resnet18/ghost",
        "resnet18/depthwise_separable",
        "mobilenetv2_050/condconv",
        "shufflenet_v2_weightnet_x0_5/weightnet",
        "vgg11/dyconv",
        "vgg11/condconv(bias=experts)",
        "vgg11_bn/condconv(bias=experts)",
        "vgg11_bn/odconv",
        "vgg11_bn/cgc",
        "vgg11_bn/octconv",
        "vgg11_bn/hetconv",
    ],
)
def test_the_norm_behind_a_replaced_layer_is_taken_up(text: str) -> None:
    network = settled(build(text, classes=10, image_size=SIDE))
    fused = assert_equal(network, image())
    behind = [name for name, module in fused.named_modules() if type(module) is nn.BatchNorm2d]
    assert not behind


def test_the_norm_behind_channel_fusion_is_taken_up() -> None:
    fused = fuse(build("resnet18/dcd", classes=10, image_size=SIDE), image_size=SIDE)
    assert all(type(module) is not nn.BatchNorm2d for module in fused.modules())


def test_the_activations_of_a_network_are_taken_up_though_they_are_in_place() -> None:
    network = settled(build("resnet50/conv", classes=10, image_size=SIDE))
    acts = [m for m in fuse(network, image_size=SIDE).modules() if isinstance(m, FoldedConv2d)]
    # the first convolution, and the first two of each of 16 blocks
    assert sum(isinstance(conv.act, nn.ReLU) for conv in acts) == 33


@pytest.mark.parametrize(
    "text",
    [
        "addressnet_20_add/se",
        "addressnet_20/cbam",
        "addressnet_20/dyconv",
        "addressnet_20/ghost",
        "dicenet_0_2/odconv",
        "dicenet_0_2/shift",
        "dicenet_0_2/ghost",
    ],
)
def test_a_block_with_a_form_of_its_own_may_hold_other_methods(text: str) -> None:
    network = settled(build(text, classes=10, image_size=SIDE))
    assert_equal(network, image())


def test_norms_behind_the_layers_of_a_warehouse_stay() -> None:
    # its cells are those of other layers, too
    network = settled(build("resnet18/kernel_warehouse", classes=10, image_size=SIDE))
    assert norms(assert_equal(network, image())) > 0


def test_the_network_itself_stays_as_it_is() -> None:
    network = settled(build("resnet18/spconv", classes=10, image_size=SIDE)).train()
    before = copy.deepcopy(network.state_dict())
    fuse(network, image_size=SIDE)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


class _Pair(nn.Module):
    """A convolution with a norm, whose output a test may use once more."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Conv2d(4, 2, 1)


class _UsedTwice(_Pair):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        out: Tensor = self.head(self.act(self.norm(y)) + y)
        return out


class _ReturnedToo(_Pair):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        return y, self.head(self.act(self.norm(y)))


class _NormTwice(_Pair):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        out: Tensor = self.head(self.act(self.norm(y)))
        return out


class _ConvTwice(_Pair):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.act(self.norm(self.conv(x)))) + self.conv(x)[:, :2]
        return out


class _ChangedBetween(_Pair):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y += 1
        out: Tensor = self.head(self.act(self.norm(y)))
        return out


class _Batch(_Pair):
    """A norm that takes the statistics of the batch even in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.act(self.norm(self.conv(x))))
        return out


@pytest.mark.parametrize(
    "kind", [_UsedTwice, _ReturnedToo, _NormTwice, _ConvTwice, _ChangedBetween, _Batch]
)
def test_what_is_used_otherwise_is_not_folded(kind: type[_Pair]) -> None:
    network = settled(kind())
    fused = fuse(network, image_size=8)
    x = image(side=8)
    with torch.no_grad():
        for mine, wanted in zip(fused(x), network(x), strict=True):
            assert relative_error(mine, wanted) < TOLERANCE[torch.float32]
    assert norms(fused) == 1


class _Shared(nn.Module):
    """One convolution under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.second(x))
        return out


class _Rows(nn.Module):
    """A row that is called, and one that is gone through."""

    def __init__(self) -> None:
        super().__init__()
        self.called = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.walked = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.called(x)
        for layer in self.walked:
            x = layer(x)
        return x


def test_a_row_of_which_one_layer_is_left_is_that_layer() -> None:
    fused = assert_equal(settled(_Rows()), image(side=8))
    assert isinstance(fused.get_submodule("called"), FoldedConv2d)
    assert isinstance(fused.get_submodule("walked"), nn.Sequential)


def test_a_layer_with_two_names_is_left_alone() -> None:
    assert norms(assert_equal(settled(_Shared()), image(side=8))) == 1


@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.GELU, nn.Tanh])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_activations_follow_the_convolution(act: type[nn.Module], groups: int) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.Conv2d(8, 16, 3, stride=2, padding=(1, 0), groups=groups, bias=False),
        nn.BatchNorm2d(16),
        act(),
    )
    fused = assert_equal(settled(network), image(3, side=9))
    assert isinstance(fused.get_submodule("1"), FoldedConv2d)
    assert norms(fused) == 0


def test_a_norm_that_activates_is_folded() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), BatchNormAct2d(8), nn.Conv2d(8, 2, 1))
    assert norms(assert_equal(settled(network), image(side=9))) == 0


def test_a_linear_layer_takes_up_its_norm() -> None:
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 64, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU()
    )
    assert norms(assert_equal(settled(network), image(side=8))) == 0


@pytest.mark.parametrize("act", [nn.ReLU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Tanh()])
@pytest.mark.parametrize("rows", [1, 9])
def test_activations_follow_the_linear_layer(act: nn.Module, rows: int) -> None:
    network = nn.Sequential(nn.Flatten(2), nn.Linear(64, 96), act, nn.Linear(96, 5, bias=False))
    x = torch.randn(rows, 3, 8, 8)
    fused = assert_equal(network.eval(), x)
    assert isinstance(fused.get_submodule("1"), FoldedLinear)


def test_odd_paddings_stay_usual_convolutions() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding="same"),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(4),
    )
    assert norms(assert_equal(settled(network), image(side=8))) == 2


@pytest.mark.parametrize("text", ["resnet18/spconv", "mobilenetv2_050/conv"])
def test_a_fused_network_serves_any_batch_size_layout_and_type(text: str) -> None:
    network = settled(build(text, classes=10, image_size=SIDE))
    fused = fuse(network, image_size=SIDE)
    with torch.no_grad():
        for batch, side in ((1, SIDE), (5, SIDE), (1, 65), (2, 33)):
            for layout in (torch.contiguous_format, torch.channels_last):
                x = image(batch, side=side).contiguous(memory_format=layout)
                assert relative_error(fused(x), network(x)) < TOLERANCE[torch.float32]
        wide = image().double()
        assert relative_error(copy.deepcopy(fused).double()(wide), network.double()(wide)) < 1e-6
        network.float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert relative_error(fused(image()), network(image())) < 3e-2


def test_a_fused_network_is_copied_and_stored_without_its_layouts() -> None:
    network = settled(build("resnet18/spconv", classes=10, image_size=SIDE))
    fused = fuse(network, image_size=SIDE)
    with torch.no_grad():
        wanted = fused(image())
        file = io.BytesIO()
        torch.save(fused.state_dict(), file)
        copied = copy.deepcopy(fused)
        copied.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
        assert torch.equal(copied(image()), wanted)


def test_changed_weights_count_after_a_move() -> None:
    fused = fuse(settled(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))), image_size=8)
    with torch.no_grad():
        fused(image(side=8))
        conv = fused.get_submodule("0")
        assert isinstance(conv, FoldedConv2d)
        assert conv.bias is not None
        conv.weight.zero_()
        fused.to("cpu")
        only_bias = conv.bias.view(1, 4, 1, 1).expand(2, 4, 8, 8)
        assert torch.equal(fused(image(side=8)), only_bias)


def test_gradients_of_the_image_flow_through() -> None:
    network = settled(build("resnet18/spconv", classes=10, image_size=SIDE)).double()
    fused = fuse(network, image_size=SIDE)
    gradients = []
    for each in (network, fused):
        x = image().double().requires_grad_()
        torch.autograd.backward(each(x).square().sum())
        assert x.grad is not None
        gradients.append(x.grad)
    assert relative_error(*gradients) < TOLERANCE[torch.float64]


def test_a_fused_network_compiles_and_exports() -> None:
    network = settled(build("resnet18/spconv", classes=10, image_size=SIDE))
    fused = fuse(network, image_size=SIDE)
    with torch.no_grad():
        wanted = network(image())
        compiled = torch.compile(fused, backend="aot_eager", fullgraph=True)
        assert relative_error(compiled(image()), wanted) < TOLERANCE[torch.float32]
        exported = torch.export.export(fused, (image(),)).module()
        assert relative_error(exported(image()), wanted) < TOLERANCE[torch.float32]


@pytest.mark.gpu
@pytest.mark.parametrize("text", ["resnet18/conv", "resnet18/spconv", "resnet18/dyconv"])
def test_on_a_gpu(text: str) -> None:
    network = settled(build(text, classes=10, image_size=SIDE)).cuda()
    fused = fuse(network, image_size=SIDE)
    with torch.no_grad():
        x = image().cuda()
        assert relative_error(fused(x), network(x)) < TOLERANCE[torch.float32]
