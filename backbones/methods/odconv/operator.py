"""ODConv: y = a_f * conv(a_c * x, a_s * sum_k a_w,k W_k), attentions for each image.

arXiv 2209.07947, equation 2. Shape suffixes: N images, G groups, o outputs of a group (1 where all
are scaled alike), I its inputs, S positions of the kernel, F = I * S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.fusion.affine import scaled, shifted
from backbones.method import Replacements
from backbones.methods.odconv import Settings
from backbones.methods.odconv.attention import Attention, Gates
from backbones.per_image import Mixing, convolve_in_parts, shape_text
from backbones.schedule import linear_rest
from backbones.sites import Site


class ODConv2d(nn.Module):
    """A convolution whose kernel is mixed and weighed along all its dimensions for each image.

    The kernels are mixed before they are weighed, which is the same because they share the other
    attentions, and those of channels and filters weigh either maps or kernels, whichever has fewer
    numbers.

    Args:
        site: The convolution that it stands for.
        settings: Of ODConv.

    Attributes:
        weight: (n, O, C / groups * k * k) kernels.
        temperature: Of all attentions; 1 unless `anneal` sets it. Not part of the state.
    """

    def __init__(self, site: Site, settings: Settings) -> None:
        super().__init__()
        self.site = site
        fan_in = site.in_channels // site.groups * math.prod(site.kernel_size)
        self.weight = nn.Parameter(torch.empty(settings.kernels, site.out_channels, fan_in))
        self.bias = nn.Parameter(torch.zeros(site.out_channels)) if site.bias else None
        self.attention = Attention(site, settings)
        self.mixing = Mixing()
        self.temperature = 1.0
        self.initial_temperature = settings.temperature
        self.temperature_epochs = settings.temperature_epochs
        has_positions = self.attention.spatial is not None
        self.is_dynamic = has_positions or settings.kernels > 1
        kernel = site.out_channels * fan_in
        self.channel_on_kernel = has_positions or (
            self.is_dynamic and kernel < site.in_channels * math.prod(site.in_size)
        )
        self.filter_on_kernel = self.is_dynamic and kernel < site.out_channels * math.prod(
            site.out_size
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw kernels (Kaiming normal over outputs) and attentions anew."""
        site = self.site
        # as PyTorch has it, whose fan-out does not know groups
        fan_out = site.out_channels * math.prod(site.kernel_size)
        nn.init.normal_(self.weight, std=math.sqrt(2 / fan_out))
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.attention.reset_parameters()

    def anneal(self, *, step: int, steps_per_epoch: int) -> None:
        """Set the temperature of a training step: it falls linearly to 1.

        Args:
            step: Forward passes in training before this one, in all epochs.
            steps_per_epoch: Forward passes in an epoch.
        """
        rest = linear_rest(
            step=step, steps_per_epoch=steps_per_epoch, epochs=self.temperature_epochs
        )
        self.temperature = 1 + (self.initial_temperature - 1) * rest

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, O, H', W'), in the memory format of `x`.
        """
        gates = self.attention(x.mean((2, 3)), temperature=self.temperature)
        if gates.channel is not None and not self.channel_on_kernel:
            x = x * gates.channel[:, :, None, None]
        y = self._convolve(x, gates)
        if gates.filter is not None and not self.filter_on_kernel:
            y = y * gates.filter[:, :, None, None]
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]

    def _convolve(self, x: Tensor, gates: Gates) -> Tensor:
        site = self.site
        if not self.is_dynamic:
            kernel = self.weight.view(-1, site.in_channels // site.groups, *site.kernel_size)
            return functional.conv2d(
                x, kernel, None, site.stride, site.padding, site.dilation, site.groups
            )
        input_scale_NGoF = self._input_scale(gates)

        def kernels(images: slice, outputs: slice) -> Tensor:
            kernels = self.weight[:, outputs]
            if gates.kernel is not None:
                kernels = self.mixing(gates.kernel[images], kernels)
            if input_scale_NGoF is not None:
                grouped = kernels.view(kernels.shape[0], site.groups, -1, kernels.shape[2])
                kernels = (grouped * input_scale_NGoF[images]).flatten(1, 2)
            if gates.filter is not None and self.filter_on_kernel:
                kernels = kernels * gates.filter[images, outputs, None]
            return kernels

        return convolve_in_parts(x, kernels, site=site)

    def _input_scale(self, gates: Gates) -> Tensor | None:
        """Attentions of channels and positions in one, since both go along the inputs."""
        scale_NGoIS = None if gates.spatial is None else gates.spatial[:, None, None, None, :]
        if gates.channel is not None and self.channel_on_kernel:
            channel = gates.channel.view(gates.channel.shape[0], self.site.groups, 1, -1, 1)
            scale_NGoIS = channel if scale_NGoIS is None else channel * scale_NGoIS
        if scale_NGoIS is None:
            return None
        inputs = self.site.in_channels // self.site.groups
        return scale_NGoIS.expand(-1, -1, -1, inputs, math.prod(self.site.kernel_size)).flatten(3)

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Take up a norm that follows (see `fusion.Absorbs`)."""
        self.bias = shifted(self.bias, (scale, shift), like=self.weight)
        self.weight = scaled(self.weight, scale, dim=1)

    def extra_repr(self) -> str:
        """Show the shape of the layer."""
        return f"{self.weight.shape[0]} kernels, {shape_text(self.site)}"


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace each convolution.

    Args:
        sites: Convolutions for which an attention is left.
        settings: Of ODConv.
    """
    return {site.name: ODConv2d(site, settings) for site in sites}
