"""Compare our training of Mask R-CNN with mmengine's Runner: same losses, and as fast?

Usage: python tests/benchmarks/mmdet_runner.py COCO [--steps 20] [--blocks 10] [--block 2]
           [--side 320] [--device cpu]

COCO is a folder in the layout of COCO 2017. Both train Mask R-CNN with a feature pyramid on
ResNet-50 by SGD with the 1x schedule for batches of 2, first stage frozen, norms in evaluation
mode: mmdetection with its own ResNet, its own config and mmengine's Runner; ours as a run does it
(`jobs.detect.run.run`). Both start from the same weights, copied tensor by tensor, see the same
images in the same order, without flips, and draw anchors and regions from the same seeds.

The backbone's weights are random, with the statistics of its norms taken from the images, so that
it computes with numbers of the size that a trained one has.

Printed are the losses of each iteration and their relative difference, then the ratio of speeds
over blocks of iterations in which the two took turns (each block the same images for both), with
the middle 95 % of 1000 resamplings of the blocks.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from detection import openmmlab
from detection.installed import config_file
from jobs.data.draws import seed_for
from jobs.detect import DetectSpec
from jobs.detect.data import load_data
from jobs.detect.network import make_network
from jobs.detect.run import run
from tests.jobs.context import FolderContext

from mmdet.registry import DATA_SAMPLERS, HOOKS  # isort: skip
from mmengine.config import Config  # isort: skip
from mmengine.hooks import Hook  # isort: skip
from mmengine.runner import Runner  # isort: skip

assert openmmlab
BATCH = 2
CONFIG = "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
RESAMPLINGS = 1000


class Enough(BaseException):
    """Ends a training from within."""


class Side:
    """A training in a thread of its own that does some steps at a time.

    Args:
        train: Trains, and calls what it is given with the loss after each step.
    """

    def __init__(self, train: Callable[[Callable[[float], None]], object]) -> None:
        self.losses: list[float] = []
        self._left = 0
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._failed: BaseException | None = None
        threading.Thread(target=self._run, args=(train,), daemon=True).start()

    def steps(self, count: int) -> tuple[float, float]:
        """Do some steps; return their seconds of the processor and of the clock."""
        self._left = count
        before = time.process_time(), time.perf_counter()
        self._go.release()
        self._done.acquire()
        if self._failed:
            raise RuntimeError("a training ended early") from self._failed
        return time.process_time() - before[0], time.perf_counter() - before[1]

    def _run(self, train: Callable[[Callable[[float], None]], object]) -> None:
        torch.set_num_threads(1)  # of OpenMP, which counts them for each thread
        self._go.acquire()
        try:
            train(self._after_step)
        except BaseException as error:
            self._failed = error
            self._done.release()

    def _after_step(self, loss: float) -> None:
        self.losses.append(loss)
        self._left -= 1
        if not self._left:
            self._done.release()
            self._go.acquire()


class Told(FolderContext):
    """A context that passes on the loss of each step."""

    tell: Callable[[float], None]

    def report(self, *, metrics: Mapping[str, float], **what: Any) -> None:
        super().report(metrics=metrics, **what)
        if "train_loss" in metrics and what.get("epoch") is None:
            self.tell(metrics["train_loss"])


@HOOKS.register_module()
class SameDraws(Hook):  # type: ignore[misc] # mmengine has no types
    """Starts from our weights, seeds each iteration as ours is, and passes on its loss."""

    def __init__(
        self, weights: Mapping[str, Tensor], seed: int, tell: Callable[[float], None]
    ) -> None:
        self._weights, self._seed, self._tell = weights, seed, tell

    def before_train(self, runner: Any) -> None:
        runner.model.load_state_dict(self._weights, strict=True)

    def before_train_iter(self, runner: Any, **_: Any) -> None:
        torch.manual_seed(seed_for("forward", self._seed, runner.iter))

    def after_train_iter(self, runner: Any, *, outputs: Mapping[str, Tensor], **_: Any) -> None:
        self._tell(outputs["loss"].item())


@DATA_SAMPLERS.register_module()
class InThisOrder:
    """Yields indices in a given order."""

    def __init__(self, dataset: object, order: Sequence[int], seed: int | None = None) -> None:
        self._order = order

    def __iter__(self) -> Any:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)


@dataclass(frozen=True)
class Same:
    """What both trainings share."""

    spec: DetectSpec
    order: Sequence[int]
    weights: Mapping[str, Tensor]


def main() -> None:
    arguments = read_arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        same = prepare(arguments, root)
        theirs = Side(functools.partial(train_theirs, same, root, arguments.device))
        ours = Side(functools.partial(train_ours, same, root, arguments.device))
        for side in (theirs, ours):
            side.steps(arguments.steps)
        print_losses(theirs.losses, ours.losses)
        blocks = []
        for block in range(arguments.blocks):
            pair = (theirs, ours) if block % 2 else (ours, theirs)
            times = {side: side.steps(arguments.block) for side in pair}
            blocks.append((times[theirs], times[ours]))
        print_ratio("processor", [(one[0], other[0]) for one, other in blocks])
        print_ratio("clock", [(one[1], other[1]) for one, other in blocks])
        print_losses(theirs.losses[-1:], ours.losses[-1:], first=len(ours.losses))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("coco", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--block", type=int, default=2, help="iterations of one turn")
    parser.add_argument("--side", type=int, default=320, help="shorter side of images, pixels")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def prepare(arguments: argparse.Namespace, root: Path) -> Same:
    spec = DetectSpec.model_validate(
        {
            "backbone": "resnet50/conv",
            "data": str(arguments.coco),
            "recipe": {
                "base": "coco_1x",
                "batch_size": BATCH,
                "micro_batch": BATCH,
                "short_sides": (arguments.side,),
                "test_side": arguments.side,
                "long_side": arguments.side * 5 // 3,
                "flip": False,
            },
            "initial": str(write_backbone(root / "backbone.pth", arguments)),
            "eval_every_epochs": 12,
            "checkpoint_every_s": 1e6,
            "log_every_steps": 1,
            "loader_workers": 0,
        }
    )
    context = FolderContext(root / "look")
    data = load_data(spec, context)
    needed = arguments.steps + arguments.blocks * arguments.block
    if needed > data.steps_per_epoch:
        raise SystemExit(f"{needed} steps are more than an epoch of {data.steps_per_epoch}")
    order = [index for step in range(needed) for index in data.order.of_step(epoch=0, step=step)]
    detector = make_network(spec, classes=len(data.checked.categories), device="cpu")
    return Same(spec, order, as_theirs(detector))


def as_theirs(detector: nn.Module) -> dict[str, Tensor]:
    """Return the weights of our detector under mmdet's names."""
    ours = "backbone.pyramid.network."
    return {
        name.replace(ours, "backbone."): tensor for name, tensor in detector.state_dict().items()
    }


@torch.no_grad()
def write_backbone(file: Path, arguments: argparse.Namespace) -> Path:
    """Write random weights of ResNet-50, with norms that fit some of the images."""
    torch.manual_seed(0)
    network = timm.create_model("resnet50", zero_init_last=False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of all passes
    for one in some_images(arguments, count=8):
        network(one)
    torch.save(network.state_dict(), file)
    return file


def some_images(arguments: argparse.Namespace, *, count: int) -> list[Tensor]:
    """Normalised images, (1, 3, H, W)."""
    from PIL import Image
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize(arguments.side),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    files = sorted((arguments.coco / "train2017").iterdir())[:count]
    return [transform(Image.open(file).convert("RGB"))[None] for file in files]


def train_ours(same: Same, root: Path, device: str, tell: Callable[[float], None]) -> None:
    context = Told(root / "ours", device=device)
    context.tell = tell
    run(same.spec, context)


def train_theirs(same: Same, root: Path, device: str, tell: Callable[[float], None]) -> None:
    config = Config.fromfile(config_file(CONFIG))
    recipe, folder = same.spec.recipe, Path(same.spec.data)
    annotations = folder / "annotations" / "instances_train2017.json"
    names = [one["name"] for one in json.loads(annotations.read_text())["categories"]]
    config.work_dir = str(root / "theirs")
    config.log_level = "WARNING"
    config.model.backbone.init_cfg = None
    for step in config.train_pipeline:
        if step.type == "Resize":
            step.scale = (recipe.long_side, recipe.short_sides[0])
        if step.type == "RandomFlip":
            step.prob = 0.0
    config.train_dataloader.update(
        num_workers=0,
        persistent_workers=False,
        batch_size=BATCH,
        batch_sampler=None,
    )
    config.train_dataloader.sampler = {"type": "InThisOrder", "order": same.order}
    config.train_dataloader.dataset.update(
        data_root="",
        ann_file=str(annotations),
        data_prefix={"img": str(folder / "train2017")},
        metainfo={"classes": tuple(names)},
        pipeline=config.train_pipeline,
    )
    config.optim_wrapper.optimizer.lr = recipe.peak_lr
    for part in ("val", "test"):
        for name in ("cfg", "dataloader", "evaluator"):
            config[f"{part}_{name}"] = None
    hook = {"type": "SameDraws", "weights": same.weights, "seed": same.spec.seed, "tell": tell}
    runner = Runner.from_cfg(config)
    runner.register_hook(hook)
    if device == "cpu":
        runner.model.to("cpu")
    runner.train()


def print_losses(theirs: Sequence[float], ours: Sequence[float], *, first: int = 1) -> None:
    write(f"{'iteration':>9} {'mmdetection':>12} {'ours':>12} {'relative':>10}")
    for at, (one, other) in enumerate(zip(theirs, ours, strict=True), start=first):
        write(f"{at:9d} {one:12.6f} {other:12.6f} {abs(one - other) / abs(one):10.1e}")


def print_ratio(name: str, pairs: Sequence[tuple[float, float]]) -> None:
    """Print our speed over theirs, from seconds (theirs, ours) of each block."""
    draw = random.Random(0)
    logs = [math.log(theirs / ours) for theirs, ours in pairs]
    means = sorted(statistics.fmean(draw.choices(logs, k=len(logs))) for _ in range(RESAMPLINGS))
    low, high = math.exp(means[25]), math.exp(means[974])
    write(
        f"{name} time: our speed over mmdetection's {math.exp(statistics.fmean(logs)):.3f} "
        f"({low:.3f} to {high:.3f}), {len(pairs)} blocks; theirs "
        f"{sum(one for one, _ in pairs):.1f} s, ours {sum(other for _, other in pairs):.1f} s"
    )


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
