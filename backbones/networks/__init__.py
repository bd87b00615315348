"""Networks that neither timm nor torchvision has.

Each public function ``name(*, classes: int) -> nn.Module`` is one; ``create`` has its file's name.
"""
