"""One of several workers that train together: ``python worker.py <rank> <world size> <folder>
<spec>...``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from jobs.classify import ClassifySpec
from jobs.classify.run import run
from tests.jobs.context import FolderContext


def main() -> None:
    rank, world_size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=world_size
    )
    for index, text in enumerate(sys.argv[4:]):
        context = FolderContext(
            folder / f"spec{index}" / f"rank{rank}", rank=rank, world_size=world_size
        )
        result = run(ClassifySpec.model_validate_json(text), context)
        if rank == 0:
            torch.save(dict(result.scores), context.root / "scores.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
