"""KernelWarehouse (Li and Yao, ICML 2024, arXiv 2406.07879): recipes of its release.

Temperatures belong to the method. Total images a step are the release's; how many a worker takes at
once (`micro_batch`) is its per-GPU figure. The release trains a few rows otherwise than their
baseline; those ways stand here under names of their own (`..._drop_path`, `..._unmixed`,
`..._smoothed`), to repeat a row as it was published. Its 100-epoch rows are `trad100`. How it
trained DeiT-Tiny is not published.
"""

from __future__ import annotations

from jobs.recipes.coco import coco_3x_adamw
from jobs.recipes.detection import DetectionRecipe
from jobs.recipes.recipe import Recipe


def kw_adv300() -> Recipe:
    """ImageNet, 300 epochs: AdamW, RandAugment, mixup, CutMix, erasing (KernelWarehouse).

    Command: ``platform submit classify --set backbone='resnet18/kernel_warehouse(budget=4)' --set
        data=<ImageNet>
    --set recipe=kw_adv300 --workers 8 --gpus 1``. Published for plain ResNet-18 under it: 70.44 %
    top-1; not measured here. The release's colour jitter of 0.4 is inactive beside RandAugment, so
    it is not part of this.

    The release trains plain ResNet-18 and budget 1/2 exactly so, budgets 1, 2 and 4 with drop path
    (`kw_adv300_drop_path`), and budget 1/4 without mixing (`kw_adv300_unmixed`).
    """
    return Recipe(
        name="kw_adv300",
        epochs=300,
        batch_size=4096,  # 8 GPUs x 128 images x 4 accumulated
        micro_batch=128,
        optimiser="adamw",
        lr=4e-3,
        weight_decay=0.05,
        min_lr=1e-6,
        warmup_epochs=20,
        label_smoothing=0.1,
        mixup=0.8,
        cutmix=1.0,
        rand_augment=9,
        erasing=0.25,
        interpolation="bicubic",
        image_size=224,
    )


def kw_adv300_drop_path() -> Recipe:
    """ImageNet, 300 epochs as `kw_adv300`, every block dropped at 0.1 (its ResNet-50).

    Command: as `kw_adv300`, for ``resnet50``. The release drops all blocks at one rate. It trains
    plain ResNet-50 and its own so, and of ResNet-18 budgets 1, 2 and 4 but not the baseline.
    Published for plain ResNet-50: 78.44 % top-1; not measured here.
    """
    return kw_adv300().derive(
        name="kw_adv300_drop_path", drop_path=0.1, drop_path_course="constant"
    )


def kw_adv300_unmixed() -> Recipe:
    """ImageNet, 300 epochs as `kw_adv300` without mixup and CutMix (its ResNet-18 at budget 1/4).

    Command: as `kw_adv300`, for ``resnet18/kernel_warehouse(budget=0.25)``, which the release
    trains so while its baseline is mixed. Published: 72.73 % top-1; not measured here.
    """
    return kw_adv300().derive(name="kw_adv300_unmixed", mixup=0.0, cutmix=0.0)


def kw_adv300_ema() -> Recipe:
    """ImageNet, 300 epochs as `kw_adv300`, scored by averaged weights (its plain ConvNeXt).

    Command: as `kw_adv300`, for ``convnext_tiny``. The release drops paths at 0.1 in the plain
    network and at 0.3 in its own (`kw_adv300_ema_drop_path`), rising with depth in both. It also
    lets the layer scale decay in its own network and not in the plain one; here it never does.
    """
    return kw_adv300().derive(name="kw_adv300_ema", ema=0.9999, drop_path=0.1)


def kw_adv300_ema_drop_path() -> Recipe:
    """ImageNet, 300 epochs as `kw_adv300_ema`, paths dropped up to 0.3 (KernelWarehouse ConvNeXt).

    Command: as `kw_adv300`, for ``convnext_tiny/kernel_warehouse``. Published: 82.51 % top-1; not
    measured here.
    """
    return kw_adv300_ema().derive(name="kw_adv300_ema_drop_path", drop_path=0.3)


def kw_mbv2_150() -> Recipe:
    """ImageNet, 150 epochs: SGD with Nesterov momentum, crop and flip (its MobileNetV2).

    Command: ``platform submit classify --set backbone='mobilenetv2_100/kernel_warehouse' --set
        data=<ImageNet>
    --set recipe=kw_mbv2_150 --workers 8 --gpus 1``. Not measured here. Some of the release's own
    rows smooth labels by 0.1 (`kw_mbv2_150_smoothed`) and their baselines do not; here nobody does.
    """
    return Recipe(
        name="kw_mbv2_150",
        epochs=150,
        batch_size=256,  # 8 GPUs x 32 images
        micro_batch=32,
        lr=0.05,
        nesterov=True,
        weight_decay=4e-5,
        min_lr=1e-6,
        image_size=224,
    )


def kw_mbv2_150_smoothed() -> Recipe:
    """ImageNet, 150 epochs as `kw_mbv2_150` with labels smoothed by 0.1 (some of its MobileNetV2).

    Command: as `kw_mbv2_150`. The configurations of budget 4 at both widths and of budget 1 at
    width 1.0 lack the key, so the default of 0.1 applies, while the baselines set 0. Not measured
    here.
    """
    return kw_mbv2_150().derive(name="kw_mbv2_150_smoothed", label_smoothing=0.1)


def kw_detection_1x() -> DetectionRecipe:
    """COCO, 12 epochs: AdamW 1e-4, shorter sides of 480 to 800 px and crops (KernelWarehouse).

    Command: ``platform submit detect 'resnet50/kernel_warehouse(budget=4)' --set data=<COCO> --set
        recipe=kw_detection_1x --set initial=run:<its ImageNet run>
    --workers 8 --gpus 1``. Published for plain ResNet-50 under it: box AP 39.6, mask AP 36.4; not
    measured here. Batch size and warm-up are mmdetection's, since the release leaves them to a file
    that is not part of it. It drops paths at 0.1 in its own ResNet-50 and not in the baseline
    (`kw_detection_1x_drop_path`). It spares from decay what has ``norm`` in its name, so that the
    norms of ResNet and MobileNetV2 decay; here none does. It keeps training kernels that a frozen
    stage shares; here they are frozen with it.
    """
    return coco_3x_adamw().derive(
        name="kw_detection_1x", epochs=12, step_epochs=(8, 11), warmup_steps=500
    )


def kw_detection_1x_drop_path() -> DetectionRecipe:
    """COCO, 12 epochs as `kw_detection_1x` with drop path 0.1 (its own ResNet-50).

    Command: as `kw_detection_1x`. Published for ResNet-50 at budget 4: box AP 42.4, mask AP 38.9;
    not measured here.
    """
    return kw_detection_1x().derive(name="kw_detection_1x_drop_path", drop_path=0.1)


def kw_detection_1x_convnext() -> DetectionRecipe:
    """COCO, 12 epochs as `kw_detection_1x` with decay by layers and drop path 0.4 (its ConvNeXt).

    Command: as `kw_detection_1x`, for ``convnext_tiny``. Published for the plain one: box AP 43.4,
    mask AP 39.7; not measured here.
    """
    return kw_detection_1x().derive(
        name="kw_detection_1x_convnext",
        step_epochs=(9, 11),
        drop_path=0.4,
        layer_decay=0.95,
        decays="matrices",
        frozen_stages=0,
        norm_eval=False,
        output_norms=True,
    )
