"""The maps that are shown are what the blocks return; looking leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbones import feature_maps
from backbones.build import build
from backbones.errors import BackboneError, UnsupportedNetworkError
from backbones.feature_maps import FeatureMaps, Place, as_maps, choose, look, places
from backbones.redundancy import Measure

CIFAR = "resnet20_cifar/conv"


def images(count: int = 2, size: int = 32) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def network_of(text: str, size: int = 32) -> nn.Module:
    torch.set_num_threads(1)
    return build(text, classes=10, image_size=size).eval()


def seen_of(text: str, *, size: int = 32, count: int = 2) -> list[FeatureMaps]:
    found = places(text, image_size=size, classes=10)
    return look(network_of(text, size), images(count, size), choose(found))


def returned(network: nn.Module, name: str, shown: Tensor) -> Tensor:
    """What a module returns, caught as a copy."""
    caught: list[Tensor] = []
    module = network.get_submodule(name)
    handle = module.register_forward_hook(lambda _, __, output: caught.append(output.clone()))
    with torch.no_grad():
        network(shown)
    handle.remove()
    return caught[0]


def assert_unhooked(network: nn.Module) -> None:
    assert not any(module._forward_hooks for module in network.modules())


def test_blocks_are_listed_by_stage() -> None:
    found = places(CIFAR, image_size=32, classes=10)
    assert [(place.stage, place.block) for place in found] == [
        (stage, block) for stage in range(3) for block in range(3)
    ]
    assert found[4].name == "layer2.1"


def test_the_last_block_of_each_stage_is_chosen_unless_said() -> None:
    found = places(CIFAR, image_size=32, classes=10)
    assert [place.name for place in choose(found)] == ["layer1.2", "layer2.2", "layer3.2"]
    assert [place.name for place in choose(found, stage=1)] == ["layer2.0", "layer2.1", "layer2.2"]
    assert [place.name for place in choose(found, stage=1, block=0)] == ["layer2.0"]


@pytest.mark.parametrize(
    ("stage", "block", "message"),
    [
        (3, None, "no stage 3; this network has 0, 1, 2"),
        (1, 7, "stage 1 has no block 7, only 0, 1, 2"),
        (None, 1, "of which stage"),
    ],
)
def test_what_there_is_not_is_named(stage: int | None, block: int | None, message: str) -> None:
    found = places(CIFAR, image_size=32, classes=10)
    with pytest.raises(BackboneError, match=message):
        choose(found, stage=stage, block=block)


@pytest.mark.parametrize(
    ("text", "size", "shapes"),
    [
        (CIFAR, 32, [(16, 32), (32, 16), (64, 8)]),
        ("resnet20_cifar/spconv", 32, [(16, 32), (32, 16), (64, 8)]),
        ("resnet20_cifar/ghost+eca", 32, [(16, 32), (32, 16), (64, 8)]),
        ("resnet18/octconv", 64, [(64, 16), (128, 8), (256, 4), (512, 2)]),
        ("resnet18/condconv", 64, [(64, 16), (128, 8), (256, 4), (512, 2)]),
        ("shufflenet_v2_x1_0/conv", 64, [(116, 8), (232, 4), (464, 2)]),
        ("convnext_tiny/conv", 64, [(96, 16), (192, 8), (384, 4), (768, 2)]),
        ("vgg11/conv", 64, [(64, 64), (128, 32), (256, 16), (512, 8), (512, 4)]),
        ("deit_tiny_patch16_224/conv", 64, [(192, 4)]),
        ("swin_t/conv", 64, [(96, 16), (192, 8), (384, 4), (768, 2)]),
    ],
)
def test_networks_show_the_maps_of_their_stages(
    text: str, size: int, shapes: list[tuple[int, int]]
) -> None:
    seen = seen_of(text, size=size)
    assert [(one.channels, one.size) for one in seen] == [
        (channels, (side, side)) for channels, side in shapes
    ]
    assert [one.place.stage for one in seen] == list(range(len(shapes)))
    for one in seen:
        assert one.images == 2
        assert one.statistics.positions == 2 * one.size[0] * one.size[1]
        assert all(np.isfinite(each).all() for each in one.statistics.similarities.values())


@pytest.mark.parametrize("text", [CIFAR, "resnet20_cifar/spconv", "alexnet/conv"])
def test_the_maps_are_what_the_block_returns(text: str) -> None:
    network = network_of(text, 64)
    shown = images(3, 64)
    for one in look(network, shown, choose(places(text, image_size=64, classes=10))):
        wanted = returned(network, one.place.name, shown)
        assert np.array_equal(one.values, wanted.numpy())
        by_channel = wanted.transpose(0, 1).flatten(1)
        assert np.allclose(one.statistics.mean, by_channel.double().mean(1))
        alive = ~one.statistics.dead
        cosine = torch.nn.functional.cosine_similarity(
            by_channel[:, None].double(), by_channel[None].double(), dim=2
        )
        found = one.statistics.similarities[Measure.COSINE]
        assert np.allclose(found[alive][:, alive], cosine[alive][:, alive], atol=1e-6)


def test_tokens_stand_in_their_places() -> None:
    text = "deit_tiny_patch16_224/conv"
    network = network_of(text, 64)
    (one,) = look(network, images(2, 64), choose(places(text, image_size=64, classes=10)))
    tokens = returned(network, "blocks.11", images(2, 64))
    assert tokens.shape == (2, 17, 192)
    for row in range(4):
        for column in range(4):
            # the class token stands before them
            token = tokens[:, 1 + 4 * row + column]
            assert np.array_equal(one.values[:, :, row, column], token.numpy())


def test_channels_that_stand_last_are_told_by_the_square() -> None:
    x = torch.randn(2, 4, 4, 7)
    assert torch.equal(as_maps(x, name="block"), x.permute(0, 3, 1, 2))
    y = torch.randn(2, 7, 4, 4)
    assert as_maps(y, name="block") is y


@pytest.mark.parametrize(("tokens", "prefix"), [(16, 0), (17, 0), (17, 1), (18, 2), (16, 1)])
def test_tokens_before_the_grid_are_left_out(tokens: int, prefix: int) -> None:
    x = torch.randn(2, tokens, 3)
    wanted = x[:, tokens - 16 :].transpose(1, 2).reshape(2, 3, 4, 4)
    assert torch.equal(as_maps(x, name="block", prefix=prefix), wanted)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ((torch.zeros(1, 2, 4, 4),), "block returns tuple"),
        (torch.zeros(1, 23, 8), "block returns 1 x 23 x 8 values"),
        (torch.zeros(1, 8, 3, 5), "tokens of a square grid"),
        (torch.zeros(1, 8), "which are no maps"),
    ],
)
def test_what_is_no_map_is_refused(output: object, message: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match=message):
        as_maps(output, name="block")


def test_a_block_that_sees_windows_is_refused_and_leaves_no_hooks() -> None:
    text = "mobilevit_xxs/conv"
    network = network_of(text, 64)
    found = places(text, image_size=64, classes=10)
    window = next(place for place in found if "transformer" in place.name)
    with pytest.raises(UnsupportedNetworkError, match="works on windows"):
        look(network, images(2, 64), [found[0], window])
    assert_unhooked(network)


def test_maps_that_are_not_finite_are_refused_and_leave_no_hooks() -> None:
    network = network_of(CIFAR)
    with torch.no_grad():
        network.get_parameter("layer2.0.conv1.weight").fill_(float("nan"))
    found = places(CIFAR, image_size=32, classes=10)
    with pytest.raises(BackboneError, match=r"maps of layer2\.2 hold values that are not finite"):
        look(network, images(), choose(found))
    assert_unhooked(network)


def test_a_network_that_fails_leaves_no_hooks() -> None:
    network = network_of(CIFAR)
    with pytest.raises(RuntimeError):
        look(network, torch.zeros(1, 5, 32, 32), places(CIFAR, image_size=32, classes=10))
    assert_unhooked(network)


def test_a_place_of_another_network_leaves_no_hooks() -> None:
    network = network_of(CIFAR)
    with pytest.raises(AttributeError):
        look(network, images(), [Place("layer1.0", 0, 0), Place("layer9.0", 8, 0)])
    assert_unhooked(network)


def test_looking_changes_nothing() -> None:
    network = network_of("resnet20_cifar/spconv")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        wanted = network(images())
    look(network, images(), places("resnet20_cifar/spconv", image_size=32, classes=10))
    with torch.no_grad():
        assert torch.equal(network(images()), wanted)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert_unhooked(network)


def test_what_follows_in_place_does_not_reach_the_maps() -> None:
    network = network_of("alexnet/conv", 64)
    (one,) = look(network, images(1, 64), [Place("features.0", 0, 0)])
    assert isinstance(network.get_submodule("features.1"), nn.ReLU)
    assert (one.values < 0).any()


def test_many_images_are_shown_in_parts_with_the_same_figures() -> None:
    network, shown = network_of(CIFAR), images(37, 16)
    found = places(CIFAR, image_size=16, classes=10)
    (whole,) = look(network, shown, [found[5]])
    wanted = returned(network, found[5].name, shown)
    flat = wanted.transpose(0, 1).flatten(1).double().numpy()
    assert whole.images == 37
    assert np.allclose(whole.statistics.mean, flat.mean(1), atol=1e-6)
    assert np.allclose(
        whole.statistics.similarities[Measure.CORRELATION], np.corrcoef(flat), atol=1e-5
    )


def test_as_many_maps_are_kept_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(CIFAR)
    place = places(CIFAR, image_size=32, classes=10)[0]
    an_image = 4 * 16 * 32 * 32
    for room, kept in ((3 * an_image, 3), (3 * an_image - 1, 2), (0, 1)):
        monkeypatch.setattr(feature_maps, "KEPT_BYTES", room)
        (one,) = look(network, images(5), [place])
        assert (len(one.values), one.images) == (kept, 5)


def test_averaged_and_half_precision_networks_show_the_same_type() -> None:
    network = network_of(CIFAR).to(torch.bfloat16)
    (one,) = look(network, images().bfloat16(), [Place("layer1.0", 0, 0)])
    assert one.values.dtype == np.float32


def test_a_network_without_blocks_has_its_convolutions() -> None:
    found = places("vgg11/conv", image_size=32, classes=10)
    assert [place.name for place in choose(found, stage=2)] == ["features.6", "features.8"]
    normed = places("vgg11_bn/conv", image_size=32, classes=10)
    assert normed[0].name == "features.2"  # the activation after the norm


def test_a_network_without_maps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_maps, "sites", lambda text, **_: [])
    with pytest.raises(UnsupportedNetworkError, match="neither blocks nor convolutions"):
        places("resnet18/conv", image_size=32, classes=10)


def test_torch_is_not_loaded_before_it_is_asked_to_look() -> None:
    code = (
        "import sys, backbones.feature_maps as f; assert 'torch' not in sys.modules; "
        "f.choose([f.Place('a', 0, 0)]); assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
