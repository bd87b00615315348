"""KernelWarehouse: Rethinking the Design of Dynamic Convolution (Li and Yao, ICML 2024).

arXiv 2406.07879.

Kernels are cut into cells; the layers of a stage share a warehouse of cells, and each cell of a
layer's kernel is, image by image, a mixture of all of them. `layout` says which layers change and
what they share, `partition` counts cells, `startup` assigns each mixture its first cell. Deviations
from the released code: a batch of one in training normalises its attention with the running
statistics instead of failing, and warehouses belong to the layers that use them.
"""

from __future__ import annotations

from backbones.method import Method
from backbones.methods.kernel_warehouse.layout import takes
from backbones.methods.kernel_warehouse.partition import check
from backbones.methods.kernel_warehouse.settings import Settings
from backbones.methods.kernel_warehouse.table import tables
from backbones.sites import Slot

__all__ = ["METHOD", "Settings"]

_RESNETS = ("resnet18", "resnet34")
_BOTTLENECKS = ("resnet50", "resnet101", "resnet152")
_MOBILENETS = (
    "mobilenetv2_035",
    "mobilenetv2_050",
    "mobilenetv2_075",
    "mobilenetv2_100",
    "mobilenetv2_140",
)
_CONVNEXTS = ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large")
_DEITS = ("deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224")

METHOD = Method(
    title="KernelWarehouse",
    family="dynamic",
    slot=Slot.CONV,
    settings=Settings,
    arxiv="2406.07879",
    venue="Li and Yao, ICML 2024",
    takes=takes,
    presets={
        **{name: {"layout": "resnet"} for name in _RESNETS},
        **{name: {"layout": "bottleneck"} for name in _BOTTLENECKS},
        **{name: {"layout": "mobilenetv2", "temperature_epochs": 15} for name in _MOBILENETS},
        **{name: {"layout": "convnext", "attention_norm": "layer"} for name in _CONVNEXTS},
        # what DeiT replaces is not published: all four matrices of each block are our choice
        **{name: {"layout": "transformer", "attention_norm": "layer"} for name in _DEITS},
    },
    check=check,
    tables=tables,
)
