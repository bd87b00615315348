"""Networks that neither timm nor torchvision has.

Each public function ``name(*, classes: int) -> nn.Module`` is one; ``create`` has its file's name.
One that is built for images of one size also takes ``image_size: int``, their side in pixels.
A file whose networks are meant for another size than 224 says ``IMAGE_SIZE = 32``, or their names
end in ``_cifar``.
"""
