"""Context-gated convolution: W(x) = W * sigmoid(g_in(x) + g_out(x)).

arXiv 1910.05577. Shape suffixes: N images, C input channels, O output channels, S positions of the
kernel, D latent numbers, G groups of the convolution, o and i outputs and inputs of a group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.fusion.affine import scaled, shifted
from backbones.method import MethodSettings, Replacements
from backbones.methods.cgc import interaction_width, latent_width
from backbones.per_image import convolve_in_parts, shape_text
from backbones.sites import Site


class ContextGate(nn.Module):
    """Decode from a map how much of each number of a kernel counts.

    Args:
        site: The convolution.
    """

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.kernel_size = site.kernel_size
        self.width = interaction_width(site)
        positions, latent = math.prod(site.kernel_size), latent_width(site)
        groups = site.in_channels // self.width
        self.encode = nn.Linear(positions, latent, bias=False)
        self.input_norm = nn.BatchNorm1d(site.in_channels)
        self.decode_input = nn.Linear(latent, positions, bias=False)
        self.interact_norm = nn.BatchNorm1d(site.in_channels)
        self.interact = nn.Linear(self.width, site.out_channels // groups, bias=False)
        self.output_norm = nn.BatchNorm1d(site.out_channels)
        self.decode_output = nn.Linear(latent, positions, bias=False)

    def reset_parameters(self) -> None:
        """Draw linear layers anew (PyTorch's default, as released); norms become identities."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.BatchNorm1d):
                module.reset_parameters()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, C, S) for input channels and (N, O, S) for output channels; their sum goes into the
            sigmoid.
        """
        context_NCS = functional.adaptive_avg_pool2d(x, self.kernel_size).flatten(2)
        latent_NCD = self.encode(context_NCS)
        by_input = self.decode_input(self.input_norm(latent_NCD).relu())
        by_output = self.decode_output(self.output_norm(self._mix(latent_NCD)).relu())
        return by_input, by_output

    def _mix(self, latent_NCD: Tensor) -> Tensor:
        """Return (N, O, D): one map of channels for all groups of channels and all D."""
        images, channels, latent = latent_NCD.shape
        grouped = self.interact_norm(latent_NCD).relu()
        grouped = grouped.view(images, channels // self.width, self.width, latent)
        mixed: Tensor = self.interact(grouped.transpose(2, 3)).transpose(2, 3)
        # a traced norm takes its gradient to lie as its input does, which only holds as usual
        return mixed.flatten(1, 2).contiguous()


class ContextGatedConv2d(nn.Module):
    """A convolution with a kernel for each image, gated by the context of the whole map.

    Args:
        site: The convolution that it stands for.
    """

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        inputs = site.in_channels // site.groups
        self.weight = nn.Parameter(torch.empty(site.out_channels, inputs, *site.kernel_size))
        self.bias = nn.Parameter(torch.zeros(site.out_channels)) if site.bias else None
        self.gate = ContextGate(site)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the kernel (Kaiming normal over outputs) and the gate anew."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.gate.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, O, H', W'), in the memory format of `x`.
        """
        by_input_NCS, by_output_NOS = self.gate(x)

        def kernels(images: slice, outputs: slice) -> Tensor:
            return self._kernels(by_input_NCS[images], by_output_NOS[images, outputs], outputs)

        y = convolve_in_parts(x, kernels, site=self.site)
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]

    def _kernels(self, by_input_NCS: Tensor, by_output_NOS: Tensor, outputs: slice) -> Tensor:
        groups, weight = self.site.groups, self.weight[outputs]
        positions = by_input_NCS.shape[2]
        input_NG1iS = by_input_NCS.reshape(-1, groups, 1, weight.shape[1], positions)
        output_NGo1S = by_output_NOS.reshape(-1, groups, weight.shape[0] // groups, 1, positions)
        gate_NGoiS = (input_NG1iS + output_NGo1S).sigmoid_()
        return weight.to(gate_NGoiS.dtype) * gate_NGoiS.view(-1, *weight.shape)

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Take up a norm that follows (see `fusion.Absorbs`)."""
        self.bias = shifted(self.bias, (scale, shift), like=self.weight)
        self.weight = scaled(self.weight, scale)

    def extra_repr(self) -> str:
        """Show the shape of the layer."""
        return shape_text(self.site)


def plan(sites: Sequence[Site], settings: MethodSettings) -> Replacements:
    """Replace each convolution.

    Args:
        sites: Convolutions with a kernel above 1x1.
        settings: None to speak of.
    """
    del settings
    return {site.name: ContextGatedConv2d(site) for site in sites}
