"""mmcv's wrappers over our extension, against loops in double precision, and against mmcv's own
compiled extension where there is one (then each test runs once more and says so in its name)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from detection import bridge, openmmlab
from detection.errors import MissingOperatorError
from detection.ops import extension
from tests.backbones.closeness import TOLERANCE, relative_error
from tests.detection import reference_ops

import mmcv.ops  # isort: skip
from mmdet.structures.mask import BitmapMasks  # isort: skip

assert openmmlab
WRAPPERS = ("nms", "roi_align", "roi_pool", "focal_loss", "deform_conv", "modulated_deform_conv")
REFERENCES = {"slow loops": reference_ops}
if bridge.compiled():
    REFERENCES["compiled mmcv"] = importlib.import_module(bridge.EXTENSION)
against_each = pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES)
on_each_device = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
)


@contextmanager
def calling(module: ModuleType) -> Iterator[None]:
    """Let mmcv's wrappers call another extension."""
    with pytest.MonkeyPatch.context() as patch:
        for name in WRAPPERS:
            patch.setattr(importlib.import_module(f"mmcv.ops.{name}"), "ext_module", module)
        yield


def both(reference: ModuleType, call: Callable[[], Any]) -> tuple[Any, Any]:
    """What `call` gives with our extension, and what with the other."""
    with calling(extension):
        ours = call()
    with calling(reference):
        return ours, call()


def boxes_on(device: str, count: int = 60) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) that overlap a lot, and their scores."""
    corner, size = torch.rand(count, 2) * 15, torch.rand(count, 2) * 30 + 1
    return torch.cat([corner, corner + size], dim=1).to(device), torch.rand(count).to(device)


@against_each
@on_each_device
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_nms_keeps_the_same_boxes_in_the_same_order(
    reference: ModuleType, device: str, offset: int, threshold: float
) -> None:
    boxes, scores = boxes_on(device)
    (dets, kept), (want_dets, want_kept) = both(
        reference, lambda: mmcv.ops.nms(boxes, scores, threshold, offset=offset)
    )
    assert kept.tolist() == want_kept.tolist()
    assert 1 < len(kept) < len(boxes)
    assert torch.equal(dets, want_dets)


@against_each
def test_nms_leaves_out_low_scores_and_stops_at_a_number(reference: ModuleType) -> None:
    boxes, scores = boxes_on("cpu")
    (_, kept), (_, wanted) = both(
        reference,
        lambda: mmcv.ops.nms(boxes, scores, 0.5, score_threshold=0.4, max_num=7),
    )
    assert kept.tolist() == wanted.tolist()
    assert len(kept) == 7


@against_each
@on_each_device
@pytest.mark.parametrize("split", [10000, 20], ids=["at once", "class by class"])
def test_nms_by_class_never_lets_one_class_suppress_another(
    reference: ModuleType, device: str, split: int
) -> None:
    boxes, scores = boxes_on(device)
    labels = torch.randint(3, (len(boxes),), device=device)
    how = {"type": "nms", "iou_threshold": 0.4, "split_thr": split}
    (dets, kept), (want_dets, want_kept) = both(
        reference, lambda: mmcv.ops.batched_nms(boxes, scores, labels, how)
    )
    assert kept.tolist() == want_kept.tolist()
    assert torch.equal(dets, want_dets)
    alone = [
        torch.where(labels == label)[0][mmcv.ops.nms(boxes[labels == label], part, 0.4)[1]]
        for label in range(3)
        for part in [scores[labels == label]]
    ]
    assert sorted(kept.tolist()) == sorted(torch.cat(alone).tolist())


@against_each
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_lowers_scores_alike(reference: ModuleType, method: str, offset: int) -> None:
    boxes, scores = boxes_on("cpu")
    (dets, kept), (want_dets, want_kept) = both(
        reference,
        lambda: mmcv.ops.soft_nms(boxes, scores, 0.3, 0.5, 0.05, method=method, offset=offset),
    )
    assert kept.tolist() == want_kept.tolist()
    assert 1 < len(kept) <= len(boxes)
    assert torch.allclose(dets, want_dets, rtol=1e-5)


@against_each
def test_nms_match_groups_boxes_around_the_best(reference: ModuleType) -> None:
    boxes, scores = boxes_on("cpu")
    dets = torch.cat([boxes, scores[:, None]], dim=1)
    ours, wanted = both(reference, lambda: mmcv.ops.nms_match(dets, 0.4))
    assert [group.tolist() for group in ours] == [group.tolist() for group in wanted]
    assert sorted(torch.cat(ours).tolist()) == list(range(len(boxes)))


@pytest.mark.parametrize("operator", [mmcv.ops.nms, mmcv.ops.soft_nms])
def test_no_boxes_give_no_boxes(operator: Callable[..., tuple[Tensor, Tensor]]) -> None:
    with calling(extension):
        dets, kept = operator(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5)
    assert kept.shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_nms_counts_at_least_in_single_precision(dtype: torch.dtype) -> None:
    boxes, scores = (tensor.to(dtype) for tensor in boxes_on("cpu"))
    scores = torch.linspace(1, 0, len(scores)).to(dtype)  # as few ties as the type allows
    with calling(extension):
        _, kept = mmcv.ops.nms(boxes, scores.float(), 0.5)
        _, wanted = mmcv.ops.nms(boxes.double(), scores.double(), 0.5)
    assert kept.tolist() == wanted.tolist()


def regions(device: str, dtype: torch.dtype) -> Tensor:
    """(R, 5): inside, larger than the map, outside, thin, and without any area."""
    rows = [
        [0, 1.3, 2.1, 20.7, 13.9],
        [1, 0.0, 0.0, 47.9, 39.9],
        [1, -8.2, -5.5, 12.0, 9.0],
        [0, 30.2, 22.4, 70.1, 60.3],
        [0, 100.0, 90.0, 120.0, 99.0],
        [1, 17.0, 3.0, 17.4, 35.0],
        [0, 9.0, 9.0, 9.0, 9.0],
    ]
    return torch.tensor(rows, device=device, dtype=dtype)


def with_gradient(call: Callable[[Tensor], Tensor], features: Tensor) -> tuple[Tensor, Tensor]:
    """What `call` gives, and the gradient of a fixed sum of it."""
    leaf = features.clone().requires_grad_()
    output = call(leaf)
    direction = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    (gradient,) = torch.autograd.grad((output * direction.to(output.dtype)).sum(), leaf)
    return output.detach(), gradient


@against_each
@on_each_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling", [0, 2])
def test_roi_align_and_its_gradient_agree(
    reference: ModuleType, device: str, dtype: torch.dtype, aligned: bool, sampling: int
) -> None:
    features = torch.randn(2, 3, 10, 12, device=device, dtype=dtype)
    rois = regions(device, dtype)

    def call(leaf: Tensor) -> Tensor:
        answer: Tensor = mmcv.ops.roi_align(leaf, rois, (3, 2), 0.25, sampling, "avg", aligned)
        return answer

    (output, gradient), (want, want_gradient) = both(
        reference, lambda: with_gradient(call, features)
    )
    assert output.dtype == dtype
    assert relative_error(output, want) < TOLERANCE[dtype]
    assert relative_error(gradient, want_gradient) < TOLERANCE[dtype]


@on_each_device
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_roi_align_of_half_precision_is_single_precision_rounded(
    device: str, dtype: torch.dtype
) -> None:
    features = torch.randn(2, 3, 10, 12, device=device).to(dtype)
    rois = regions(device, torch.float32).to(dtype)

    def call(leaf: Tensor) -> Tensor:
        answer: Tensor = mmcv.ops.roi_align(leaf, rois.to(leaf.dtype), 3, 0.25, 0, "avg", True)
        return answer

    with calling(extension), torch.autocast(device, dtype=torch.bfloat16):
        output, gradient = with_gradient(call, features)
        want, want_gradient = with_gradient(call, features.float())
    assert output.dtype == gradient.dtype == dtype
    assert relative_error(output, want) < TOLERANCE[dtype]
    assert relative_error(gradient, want_gradient) < TOLERANCE[dtype]


def test_no_regions_give_no_values_and_no_gradient() -> None:
    rois = torch.zeros(0, 5)
    with calling(extension):
        for call in (
            lambda leaf: mmcv.ops.roi_align(leaf, rois, 3, 0.25, 0, "avg", True),
            lambda leaf: mmcv.ops.roi_pool(leaf, rois, 3, 0.25),
        ):
            output, gradient = with_gradient(call, torch.randn(2, 3, 10, 12))
            assert output.shape == (0, 3, 3, 3)
            assert not gradient.any()


@on_each_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_roi_pool_and_its_gradient_agree(device: str, dtype: torch.dtype) -> None:
    # mmcv compiles this one for CUDA only: its extension is no reference on a CPU
    features = torch.randn(2, 3, 10, 12, device=device, dtype=dtype)
    rois = regions(device, dtype)

    def call(leaf: Tensor) -> Tensor:
        answer: Tensor = mmcv.ops.roi_pool(leaf, rois, (3, 2), 0.25)
        return answer

    (output, gradient), (want, want_gradient) = both(
        reference_ops, lambda: with_gradient(call, features)
    )
    assert torch.equal(output, want)
    assert relative_error(gradient, want_gradient) < TOLERANCE[dtype]
    assert (output[4] == 0).all()  # it lies outside


@on_each_device
@pytest.mark.parametrize("weighted", [False, True])
def test_focal_loss_and_its_gradient_agree(device: str, weighted: bool) -> None:
    logits = torch.randn(6, 4, device=device) * 3
    target = torch.tensor([0, 1, 3, 2, 0, 3], device=device)
    weight = torch.rand(4, device=device) if weighted else None

    def call(leaf: Tensor) -> Tensor:
        answer: Tensor = mmcv.ops.sigmoid_focal_loss(leaf, target, 2.0, 0.25, weight, "none")
        return answer

    (output, gradient), (want, want_gradient) = both(
        reference_ops, lambda: with_gradient(call, logits)
    )
    assert relative_error(output, want) < 1e-5
    assert relative_error(gradient, want_gradient) < 1e-5


def test_the_background_has_no_class_that_is_there() -> None:
    logits, background = torch.randn(2, 3), torch.tensor([3, 3])
    with calling(extension):
        loss = mmcv.ops.sigmoid_focal_loss(logits, background, 2.0, 0.25, None, "none")
    none = torch.zeros(0)
    assert relative_error(
        loss, reference_ops.focal(logits.double(), background, none, gamma=2.0, alpha=0.25)
    ) < 1e-5  # fmt: skip


@against_each
@on_each_device
@pytest.mark.parametrize("masked", [False, True], ids=["v1", "v2"])
def test_deformable_convolution_and_all_its_gradients_agree(
    reference: ModuleType, device: str, masked: bool
) -> None:
    features, weight, bias = torch.randn(2, 4, 7, 6), torch.randn(6, 2, 3, 3), torch.randn(6)
    offset, mask = torch.randn(2, 36, 4, 3), torch.rand(2, 18, 4, 3)
    numbers = [2, 1, 1, 2, 2]  # stride, padding, dilation, groups, groups of offsets

    def fast(leaves: Sequence[Tensor]) -> Tensor:
        answer: Tensor
        if masked:
            answer = mmcv.ops.modulated_deform_conv2d(leaves[0], leaves[1], leaves[3], leaves[2],
                                                      leaves[4], *numbers)  # fmt: skip
        else:
            answer = mmcv.ops.deform_conv2d(*leaves[:3], *numbers)
        return answer

    def slow(leaves: Sequence[Tensor]) -> Tensor:
        answer = reference_ops.deformable(
            *leaves[:3],
            mask=leaves[3] if masked else None,
            stride=2,
            padding=1,
            dilation=1,
            groups=2,
            offset_groups=2,
        )
        return answer + leaves[4][:, None, None] if masked else answer

    tensors = [features, offset, weight, mask, bias][: 5 if masked else 3]
    with calling(extension):
        found = all_gradients(fast, [tensor.to(device) for tensor in tensors])
    with calling(reference):
        call = slow if reference is reference_ops else fast
        wanted = all_gradients(call, [tensor.double() for tensor in tensors])
    for one, other in zip(found, wanted, strict=True):
        assert relative_error(one, other) < 1e-5


def all_gradients(
    call: Callable[[Sequence[Tensor]], Tensor], tensors: Sequence[Tensor]
) -> list[Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    output = call(leaves)
    direction = torch.linspace(-1, 1, output.numel()).view_as(output).to(output)
    return [output, *torch.autograd.grad((output * direction).sum(), leaves)]


def test_masks_of_objects_are_cut_to_the_size_that_the_loss_wants() -> None:
    drawn = torch.zeros(2, 20, 30)
    drawn[0, 4:15, 3:20] = 1
    drawn[1, 10:18, 15:29] = 1
    boxes = torch.tensor([[2.5, 3.0, 21.0, 16.0], [14.0, 9.5, 29.0, 19.0]])
    masks = BitmapMasks(drawn.numpy().astype("uint8"), 20, 30)
    with calling(extension):
        found = masks.crop_and_resize(
            boxes.numpy(), (7, 7), torch.tensor([0, 1]).numpy(), device="cpu", binarize=True
        )
    rois = torch.cat([torch.arange(2.0)[:, None], boxes], dim=1)
    wanted = reference_ops.align(
        drawn[:, None],
        rois,
        aligned_height=7,
        aligned_width=7,
        spatial_scale=1.0,
        sampling_ratio=0,
        aligned=True,
    )
    assert torch.equal(torch.from_numpy(found.masks).bool(), wanted[:, 0] >= 0.5)
    assert 0.4 < found.masks.mean() < 1


def test_the_maximum_of_roi_align_is_refused_with_what_would_do() -> None:
    with calling(extension), pytest.raises(MissingOperatorError, match="pool_mode='max'"):
        mmcv.ops.roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), 2, 1.0, 0, "max", True)


def test_an_operator_that_torchvision_lacks_is_named_when_it_is_called() -> None:
    with pytest.raises(MissingOperatorError, match=r"'carafe_forward'.*compile mmcv.*Mask R-CNN"):
        extension.carafe_forward(torch.zeros(1))
    assert not hasattr(extension, "_private")
    assert not hasattr(extension, "__wrapped__")
