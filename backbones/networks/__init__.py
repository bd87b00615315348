"""Networks that neither timm nor torchvision has, one file each with `create(*, classes)`."""
