"""The operators of ``mmcv._ext`` that the R-CNN family calls, on torchvision's."""
