"""The device at hand: its name, and the arithmetic it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import torch

from jobs.errors import OutOfMemoryError, SpecError

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

_MIXED = {"bf16": torch.bfloat16, "fp16": torch.float16}
_CPU_INFO = Path("/proc/cpuinfo")


def name(device: str) -> str:
    """Return what the device is called: the GPU's model, or the processor's with its vectors.

    Args:
        device: ``cpu``, or a GPU such as ``cuda:0``.
    """
    if is_cuda(device):
        return torch.cuda.get_device_name(device)
    found = re.search(r"^model name\s*:\s*(.+)$", _cpu_info(), re.MULTILINE)
    model = found[1].strip() if found else "CPU"
    return f"{model} ({torch.backends.cpu.get_cpu_capability()})"


def is_cuda(device: str) -> bool:
    """Return whether it is a CUDA device."""
    return torch.device(device).type == "cuda"


def require(precision: Precision, *, device: str) -> None:
    """Refuse arithmetic that the device does not have.

    Raises:
        SpecError: It has not; says what would do.
    """
    if not is_cuda(device) and precision in {"tf32", "fp16"}:
        raise SpecError(f"precision {precision} needs a GPU, this is {device}; use fp32 or bf16")
    if is_cuda(device) and precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise SpecError(f"{name(device)} has no bf16; use fp16 or fp32")


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Let products be of IEEE single precision inside, or of TF32 when that is asked for."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def mixed(precision: Precision, *, device: str) -> AbstractContextManager[object]:
    """Return the context in which a forward pass runs: automatic casts for bf16 and fp16."""
    if precision not in _MIXED:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=_MIXED[precision])


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def memory_explained(advice: str) -> Iterator[None]:
    """Turn torch's several ways of saying that memory ran out into one error.

    Args:
        advice: What would do.

    Raises:
        OutOfMemoryError: A device or the host ran out of memory.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        what = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "the host"
        text = " ".join(str(error).split())[:300]
        raise OutOfMemoryError(f"{what} ran out of memory; {advice} ({text})") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch says with this that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # the CPU allocator has no error class of its own
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _cpu_info() -> str:
    return _CPU_INFO.read_text("utf-8") if _CPU_INFO.is_file() else ""
