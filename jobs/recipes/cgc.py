"""CGC (Lin et al., ECCV 2020, arXiv 1910.05577): its recipe was never published.

Its authors announced scripts and released none. What stands below is a stand-in under a name of its
own, so that nothing claims to be the paper's.
"""

from __future__ import annotations

from jobs.recipes.odconv import od_resnet_100
from jobs.recipes.recipe import Recipe


def cgc_100() -> Recipe:
    """ImageNet, 100 epochs: a stand-in, since CGC's recipe was not published (as `od_resnet_100`).

    Command: ``platform submit classify --set backbone=resnet50/cgc --set data=<ImageNet> --set
        recipe=cgc_100 --workers 8 --gpus 1``. Not measured here; every value is ODConv's.
    """
    return od_resnet_100().derive(name="cgc_100")
