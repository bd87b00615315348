from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_accuracy

from jobs import recipes
from jobs.classify.evaluation import Scores, evaluate
from jobs.data import augmentation
from jobs.data.contents import FolderContents
from jobs.data.imagefolder import Sample, read_listing
from jobs.data.loading import Images, InTurn, make_loader
from tests.jobs.context import FolderContext

RECIPE = recipes.get("digits_quick").derive(image_size=16)


class Fixed(nn.Module):
    """Gives the next rows of a table of logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self._rows = iter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([next(self._rows) for _ in images])


def scores_of(logits: Tensor, folder: Path, samples: tuple[Sample, ...], root: Path) -> Scores:
    images = Images(FolderContents(folder), samples, transform=augmentation.evaluation(RECIPE))
    batches = InTurn(len(samples), batch=7, rank=0, world_size=1)
    loader = make_loader(images, batches, processes=0, device="cpu")
    return evaluate(Fixed(logits), loader, precision="fp32", context=FolderContext(root))


def test_scores_equal_those_of_torchmetrics(few_digits: Path, tmp_path: Path) -> None:
    samples = read_listing(few_digits).val
    logits = torch.randn(len(samples), 10)
    labels = torch.tensor([sample.label for sample in samples])
    scores = scores_of(logits, few_digits, samples, tmp_path)
    assert scores.images == 40
    for top, ours in ((1, scores.top1_pct), (5, scores.top5_pct)):
        theirs = multiclass_accuracy(logits, labels, num_classes=10, average="micro", top_k=top)
        assert ours == pytest.approx(100 * float(theirs))
    assert scores.loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)))


def test_there_is_no_top5_with_fewer_than_five_classes(few_digits: Path, tmp_path: Path) -> None:
    samples = tuple(sample for sample in read_listing(few_digits).val if sample.label < 4)
    scores = scores_of(torch.eye(4).repeat(4, 1), few_digits, samples, tmp_path)
    assert scores.top5_pct is None
    assert "top5_pct" not in scores.named()
    assert scores.top1_pct == 25.0


def test_a_network_is_left_in_the_mode_in_which_it_was(few_digits: Path, tmp_path: Path) -> None:
    samples = read_listing(few_digits).val
    images = Images(FolderContents(few_digits), samples, transform=augmentation.evaluation(RECIPE))
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.LazyLinear(10))
    loader = make_loader(
        images, InTurn(40, batch=40, rank=0, world_size=1), processes=0, device="cpu"
    )
    context = FolderContext(tmp_path)
    twice = [evaluate(network, loader, precision="fp32", context=context) for _ in range(2)]
    assert network.training
    assert twice[0] == twice[1]
