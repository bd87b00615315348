"""One of several workers that train together: ``python worker.py <kind> <rank> <world size>
<folder> <spec>...``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from jobs.job import get, load_run
from tests.jobs.context import FolderContext


def main() -> None:
    kind, rank, world_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    folder = Path(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=world_size
    )
    for index, text in enumerate(sys.argv[5:]):
        context = FolderContext(
            folder / f"spec{index}" / f"rank{rank}", rank=rank, world_size=world_size
        )
        result = load_run(kind)(get(kind).spec.model_validate_json(text), context)
        if rank == 0:
            torch.save(dict(result.scores), context.root / "scores.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
