"""AddressNet (He et al., WACV 2019, arXiv 1809.08458): stand-ins for recipes that are not known."""

from __future__ import annotations

from jobs.recipes.cifar import cifar_200
from jobs.recipes.recipe import Recipe


def addressnet_200() -> Recipe:
    """CIFAR, 200 epochs: SGD 0.1, a tenth of it after 100 and 150, weight decay 1e-4 (AddressNet).

    Command: ``platform submit classify --set backbone=addressnet_20/conv --set data=<CIFAR-100>
        --set recipe=addressnet_200``. Published: 68.7 % top-1 on CIFAR-100 for AddressNet-20,
    73.3 % for AddressNet-44; not measured here.

    A stand-in: the paper's training could not be had. It is the usual one of CIFAR's ResNets, whose
    plan these networks have, and the same for both.
    """
    return cifar_200().derive(
        name="addressnet_200", schedule="step", step_epochs=(100, 150), weight_decay=1e-4
    )


def addressnet_90() -> Recipe:
    """ImageNet, 90 epochs: SGD 0.1, a tenth of it every 30, decay 4e-5 (Enhanced AddressNet).

    Command: ``platform submit classify --set backbone=enhanced_addressnet/conv --set
        data=<ImageNet> --set recipe=addressnet_90 --workers 4 --gpus 1``. Not measured here.

    A stand-in, as the recipe of CIFAR is: epochs and steps of the usual training, the weight decay
    of small networks.
    """
    return Recipe(
        name="addressnet_90",
        epochs=90,
        batch_size=256,
        micro_batch=64,
        lr=0.1,
        weight_decay=4e-5,
        decay_norm_and_bias=True,
        schedule="step",
        step_epochs=(30, 60),
        image_size=224,
    )
