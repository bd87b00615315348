"""Which parameters of a classifier decay."""

from __future__ import annotations

from timm.optim._param_groups import param_groups_weight_decay
from torch import nn
from torch.optim import Optimizer

from jobs.recipes.recipe import Recipe
from jobs.training.optimiser import optimiser_over


def make_optimiser(network: nn.Module, recipe: Recipe) -> Optimizer:
    """Return the optimiser over all parameters that learn.

    One-dimensional parameters, biases, and what the network itself exempts do not decay, unless
    the recipe says that they do.
    """
    if recipe.decay_norm_and_bias:
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        groups = [{"params": learning, "weight_decay": recipe.weight_decay}]
    else:
        exempt = getattr(network, "no_weight_decay", set[str])()
        groups = param_groups_weight_decay(
            network, recipe.weight_decay, no_weight_decay_list=exempt
        )
    return optimiser_over(groups, recipe)
