"""Our backbones as mmdet knows backbones: registered by a name, partly frozen, norms held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.pyramid import make_pyramid
from detection import openmmlab as openmmlab  # before mmdet
from detection.errors import ConfigError

from mmdet.registry import MODELS  # isort: skip


@MODELS.register_module()
class ConvoyBackbone(nn.Module):
    """Any backbone text as the backbone of a detector.

    It has no ``init_weights``, so that mmdet leaves its weights as they are.

    Args:
        backbone: Such as ``resnet50/kernel_warehouse(budget=4)``.
        frozen_stages: How much does not learn: 0 nothing, 1 the stem and all up to the first map
            (what mmdet calls 1 for a ResNet; a quarter of the blocks of a transformer, with its
            positions), and so on. Every parameter that is *used* there is frozen, also one that
            later layers share: a warehouse of KernelWarehouse whose cells reach into a frozen
            stage is frozen as a whole, since a frozen layer would change with it otherwise.
            Norms and stochastic depth there are in evaluation mode.
        norm_eval: Whether all batch norms keep their statistics in training.
        **network: How the network is made (see `backbones.pyramid.make_pyramid`).

    Attributes:
        pyramid: The network with its maps; `channels` and `strides` are known before a forward
            pass.

    Raises:
        ConfigError: There are fewer stages than are to be frozen.
        BackboneError: The network cannot be built, or has no maps of several strides.
    """

    def __init__(
        self,
        *,
        backbone: str,
        frozen_stages: int = 0,
        norm_eval: bool = False,
        **network: Any,
    ) -> None:
        super().__init__()
        self.pyramid = make_pyramid(backbone, **network)
        stages = len(self.pyramid.strides)
        if not 0 <= frozen_stages <= stages:
            raise ConfigError(
                f"frozen_stages is {frozen_stages}, but {backbone} has maps of {stages} strides: "
                f"0 (nothing frozen) to {stages} (all frozen) would do"
            )
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        for module in self._frozen():
            module.requires_grad_(False)
        if frozen_stages:
            for parameter in self.pyramid.network.parameters(recurse=False):
                parameter.requires_grad_(False)
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (N, 3, H, W) to (N, channels, H / stride, W / stride) each, finest first."""
        maps: tuple[Tensor, ...] = self.pyramid(x)
        return maps

    def train(self, mode: bool = True) -> Self:
        """Set the mode of training, but for what is held in evaluation mode."""
        super().train(mode)
        if mode:
            for module in self._held():
                module.eval()
        return self

    def _held(self) -> Iterator[nn.Module]:
        yield from self._frozen()
        if self.norm_eval:
            yield from (one for one in self.modules() if isinstance(one, _BatchNorm))

    def _frozen(self) -> Iterator[nn.Module]:
        yield from self.pyramid.modules_up_to(self.frozen_stages)


Prepare = Callable[[nn.Module], None]
"""Gets the classification network before its classifier is cut away, to load weights into it."""
