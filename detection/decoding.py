"""What the loader of training makes of a file, for those that check files beforehand."""

from __future__ import annotations

import cv2
import numpy as np


def loaded_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height of an image as training loads it, None where it cannot.

    mmdet loads through OpenCV, which knows fewer formats than Pillow and turns fewer images as
    their EXIF orientation says.

    Args:
        content: Of the file.
    """
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return None if pixels is None else (pixels.shape[1], pixels.shape[0])
