"""Mask R-CNN on MS-COCO with the backbones of this project."""
