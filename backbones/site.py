from backbones.sites import *  # noqa  (temporary)
