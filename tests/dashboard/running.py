"""Makes a store by real runs: digits, tiny recipes, the dispatcher, attempts in this process.

Run as ``python tests/dashboard/running.py HOME``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from convoy.dispatcher import Dispatcher
from convoy.launchers.inline import InlineLauncher
from convoy.settings import load
from convoy.states import RunState
from convoy.store import Store
from convoy.submission import Wishes, prepare

WAREHOUSES = "resnet20_cifar/kernel_warehouse"
BACKBONES = (*(f"resnet18(stem=small)/{method}" for method in ("conv", "eca")), WAREHOUSES)
FACTS = {"image_size": 8, "classes": 10}


def main(home: Path) -> None:
    """Train and measure a few backbones for as short as it goes."""
    settings = load({"CONVOY_HOME": str(home)})
    store = Store.create(settings.store_url)
    wishes = Wishes(owner="ada")
    recipe = {"base": "digits_quick", "epochs": 2, "image_size": FACTS["image_size"]}
    values = {"data": "digits", "recipe": recipe, "train_pct": 10.0}
    trained = prepare("classify", values, wishes=wishes, backbones=BACKBONES, seeds=(0, 1))
    protocol = {**FACTS, "min_repeats": 10, "budget_s": 0.2}
    measured = prepare("benchmark", protocol, wishes=wishes, backbones=BACKBONES)
    store.submit([*trained, *measured])
    Dispatcher(store, InlineLauncher(), settings).run(until_idle=True)
    counts = store.counts()
    store.close()
    if counts[RunState.SUCCEEDED] != len(trained) + len(measured):
        sys.exit(f"not all runs succeeded: {counts}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
