"""Backbones: networks whose convolutions a published method replaced."""
