"""A residual block with one router, on its input, for several of its layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, fx, nn

from backbones.errors import UnsupportedNetworkError


class RoutedBlock(nn.Module):
    """Hands what a router says about a block's input to layers of that block.

    The block's forward pass is followed once (`torch.fx`) and written anew with a second argument,
    which the layers get as theirs. So the hand-over is part of the pass and leaves nothing behind:
    the block exports, compiles, copies and runs in several threads as any other.

    Args:
        router: Maps the block's input, (N, C, H, W), to what the layers take.
        layers: Replacements within the block; their forward takes its input and that.

    Attributes:
        block: The block, once it is wrapped.
    """

    block: fx.GraphModule

    def __init__(self, router: nn.Module, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.router = router
        self._layers = tuple(layers)

    def wrap(self, module: nn.Module) -> None:
        """Take the block, whose layers are in place by now.

        Raises:
            UnsupportedNetworkError: Its forward pass depends on more than can be followed.
        """
        training = module.training
        graphs = [self._follow(module.train(mode)) for mode in (not training, training)]
        if str(graphs[0]) != str(graphs[1]):
            raise UnsupportedNetworkError(
                f"{type(module).__name__} decides in its own forward pass what only training does, "
                "which a router around it cannot follow; choose another network"
            )
        self.block = fx.GraphModule(module, graphs[1], class_name=type(module).__name__)
        self._layers = ()

    def _follow(self, module: nn.Module) -> fx.Graph:
        """Write the block's forward pass down, with what the router says as second argument."""
        try:
            graph = _Tracer(self._layers).trace(module)
        except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
            raise UnsupportedNetworkError(
                f"the forward pass of {type(module).__name__} cannot be followed ({error}), which "
                "a router around it needs; choose another network"
            ) from error
        with graph.inserting_after(next(iter(graph.nodes))):
            routing = graph.placeholder("routing")
        for node in graph.find_nodes(op="call_module"):
            if module.get_submodule(node.target) in self._layers:
                node.args = (*node.args, routing)
        return graph

    def forward(self, x: Tensor) -> Tensor:
        """Map as the block does."""
        y: Tensor = self.block(x, self.router(x))
        return y


class _Tracer(fx.Tracer):
    """Follows a block down to the layers that are routed, and no further into anything else."""

    def __init__(self, routed: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self._routed = {id(module) for module in routed}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module stays one call."""
        del module_qualified_name
        inner = (module for module in m.modules() if module is not m)
        return not any(id(module) in self._routed for module in inner)
