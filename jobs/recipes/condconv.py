"""CondConv (Yang et al., NeurIPS 2019, arXiv 1904.04971): its recipe is not known here.

What stands below is a stand-in under a name of its own, so that nothing claims to be the paper's.
"""

from __future__ import annotations

from jobs.recipes.odconv import od_mbv2_150
from jobs.recipes.recipe import Recipe


def cond_mobile() -> Recipe:
    """ImageNet, 150 epochs: a stand-in, since CondConv's recipe is not known (as `od_mbv2_150`).

    Command: ``platform submit classify --set backbone=mobilenetv2_100/condconv --set
        data=<ImageNet> --set recipe=cond_mobile --workers 8 --gpus 1``. The paper reports 74.6 %
    top-1 against 71.6 % under its own recipe (secondary source); every value here is ODConv's.
    """
    return od_mbv2_150().derive(name="cond_mobile")
