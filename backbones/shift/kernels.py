"""Kernels of shifted point-wise group convolutions in Triton; `launch` launches them.

The shifts are arithmetic on the addresses that a matrix product loads from. a, b are the row and
the column of the input that a pixel of the output stands on; CG, OG channels and outputs of a
group; BO, BK, BP outputs, channels and pixels of a tile. Strides are of N, C, H, W.
"""
# Triton reads the signatures itself, and only knows its own types in them
# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _direction(channel, LENGTH: tl.constexpr, COUNT: tl.constexpr, CODES: tl.constexpr):
    """Return dy and dx of channels, four bits for each block of them."""
    rank = tl.minimum(channel // LENGTH, COUNT).to(tl.int64)
    code = ((CODES >> (4 * rank)) & 15).to(tl.int32)
    return code // 3 - 1, code % 3 - 1


@triton.jit
def _moved(a, b, dy, dx, H, W, WRAP: tl.constexpr):
    """Return the place read for (a, b), and whether it is within the map; wrapped where not."""
    if WRAP:
        flat = (a + dy) * W + b + dx
        flat = (flat % (H * W) + H * W) % (H * W)
        return flat // W, flat % W, flat >= 0
    row, column = a + dy, b + dx
    inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
    return (row + H) % H, (column + W) % W, inside


@triton.jit
def forward_kernel(
    x, w, bias, y, pixels, H, W, HO, WO,
    xn, xc, xh, xw, yn, yc, yh, yw,
    C: tl.constexpr, CG: tl.constexpr, OG: tl.constexpr, DISTANCE: tl.constexpr,
    LENGTH: tl.constexpr, COUNT: tl.constexpr, CODES: tl.constexpr, WRAP: tl.constexpr,
    SY: tl.constexpr, SX: tl.constexpr, HAS_BIAS: tl.constexpr, RELU: tl.constexpr,
    PRECISION: tl.constexpr, BO: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Write y = relu(w shift(x) + bias) for one tile of outputs and pixels."""
    tiles: tl.constexpr = (OG + BO - 1) // BO
    group = tl.program_id(1) // tiles
    out = (tl.program_id(1) % tiles) * BO + tl.arange(0, BO)
    pixel = tl.program_id(0) * BP + tl.arange(0, BP)
    image = (pixel // (HO * WO)).to(tl.int64)
    i, j = pixel % (HO * WO) // WO, pixel % WO
    acc = tl.zeros((BO, BP), dtype=tl.float32)
    for first in range(0, CG, BK):
        k = first + tl.arange(0, BK)
        channel = (group * CG + k + DISTANCE) % C
        dy, dx = _direction(channel, LENGTH, COUNT, CODES)
        h, v, inside = _moved(
            (i * SY)[None, :], (j * SX)[None, :], dy[:, None], dx[:, None], H, W, WRAP
        )
        where = (image * xn)[None, :] + (channel * xc)[:, None] + h * xh + v * xw
        valid = inside & (k < CG)[:, None] & (pixel < pixels)[None, :]
        values = tl.load(x + where, mask=valid, other=0.0)
        weights = tl.load(
            w + (group * OG + out)[:, None] * CG + k[None, :],
            mask=(out < OG)[:, None] & (k < CG)[None, :],
            other=0.0,
        )
        acc = tl.dot(weights, values, acc, input_precision=PRECISION)
    if HAS_BIAS:
        acc += tl.load(bias + group * OG + out, mask=out < OG, other=0.0).to(tl.float32)[:, None]
    if RELU:
        acc = tl.maximum(acc, 0.0)
    place = (image * yn + i * yh + j * yw)[None, :] + ((group * OG + out) * yc)[:, None]
    valid = (out < OG)[:, None] & (pixel < pixels)[None, :]
    tl.store(y + place, acc.to(y.dtype.element_ty), mask=valid)


@triton.jit
def input_kernel(
    gx, w, gy, pixels, H, W, HO, WO,
    xn, xc, xh, xw, yn, yc, yh, yw,
    C: tl.constexpr, CG: tl.constexpr, OG: tl.constexpr, DISTANCE: tl.constexpr,
    LENGTH: tl.constexpr, COUNT: tl.constexpr, CODES: tl.constexpr, WRAP: tl.constexpr,
    SY: tl.constexpr, SX: tl.constexpr,
    PRECISION: tl.constexpr, BO: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Write the gradient of x for one tile of channels and pixels.

    Pixels are those of the input before it moves: each goes to one place for each channel, so that
    all of gx is written once, with zeros where no output looked.
    """
    tiles: tl.constexpr = (CG + BK - 1) // BK
    group = tl.program_id(1) // tiles
    k = (tl.program_id(1) % tiles) * BK + tl.arange(0, BK)
    pixel = tl.program_id(0) * BP + tl.arange(0, BP)
    image = (pixel // (H * W)).to(tl.int64)
    a, b = pixel % (H * W) // W, pixel % W
    seen = (a % SY == 0) & (b % SX == 0) & (pixel < pixels)
    acc = tl.zeros((BK, BP), dtype=tl.float32)
    for first in range(0, OG, BO):
        out = first + tl.arange(0, BO)
        where = image * yn + (a // SY) * yh + (b // SX) * yw
        values = tl.load(
            gy + where[None, :] + ((group * OG + out) * yc)[:, None],
            mask=seen[None, :] & (out < OG)[:, None],
            other=0.0,
        )
        weights = tl.load(
            w + (group * OG + out)[None, :] * CG + k[:, None],
            mask=(out < OG)[None, :] & (k < CG)[:, None],
            other=0.0,
        )
        acc = tl.dot(weights, values, acc, input_precision=PRECISION)
    channel = (group * CG + k + DISTANCE) % C
    dy, dx = _direction(channel, LENGTH, COUNT, CODES)
    h, v, inside = _moved(a[None, :], b[None, :], dy[:, None], dx[:, None], H, W, WRAP)
    place = (image * xn)[None, :] + (channel * xc)[:, None] + h * xh + v * xw
    valid = (k < CG)[:, None] & (pixel < pixels)[None, :]
    tl.store(gx + place, tl.where(inside, acc, 0.0).to(gx.dtype.element_ty), mask=valid)


@triton.jit
def weight_kernel(
    x, gw, gy, partial, tickets, pixels, H, W, HO, WO,
    xn, xc, xh, xw, yn, yc, yh, yw,
    C: tl.constexpr, CG: tl.constexpr, OG: tl.constexpr, DISTANCE: tl.constexpr,
    LENGTH: tl.constexpr, COUNT: tl.constexpr, CODES: tl.constexpr, WRAP: tl.constexpr,
    SY: tl.constexpr, SX: tl.constexpr, SPLITS: tl.constexpr,
    PRECISION: tl.constexpr, BO: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Sum the gradient of one tile of w over a share of the pixels; the last to end adds all up."""
    o_tiles: tl.constexpr = (OG + BO - 1) // BO
    k_tiles: tl.constexpr = (CG + BK - 1) // BK
    tile = tl.program_id(1)
    group = tile // (o_tiles * k_tiles)
    out = tile // k_tiles % o_tiles * BO + tl.arange(0, BO)
    k = tile % k_tiles * BK + tl.arange(0, BK)
    channel = (group * CG + k + DISTANCE) % C
    dy, dx = _direction(channel, LENGTH, COUNT, CODES)
    acc = tl.zeros((BO, BK), dtype=tl.float32)
    for first in range(tl.program_id(0) * BP, pixels, SPLITS * BP):
        pixel = first + tl.arange(0, BP)
        image = (pixel // (HO * WO)).to(tl.int64)
        i, j = pixel % (HO * WO) // WO, pixel % WO
        h, v, inside = _moved(
            (i * SY)[:, None], (j * SX)[:, None], dy[None, :], dx[None, :], H, W, WRAP
        )
        where = (image * xn)[:, None] + (channel * xc)[None, :] + h * xh + v * xw
        valid = inside & (k < CG)[None, :] & (pixel < pixels)[:, None]
        values = tl.load(x + where, mask=valid, other=0.0)
        place = (image * yn + i * yh + j * yw)[None, :] + ((group * OG + out) * yc)[:, None]
        grads = tl.load(gy + place, mask=(out < OG)[:, None] & (pixel < pixels)[None, :], other=0.0)
        acc = tl.dot(grads, values, acc, input_precision=PRECISION)
    target = gw + (group * OG + out)[:, None] * CG + k[None, :]
    valid = (out < OG)[:, None] & (k < CG)[None, :]
    if SPLITS > 1:
        cell = tl.arange(0, BO)[:, None] * BK + tl.arange(0, BK)[None, :]
        shares = partial + tile * SPLITS * BO * BK + cell
        tl.store(shares + tl.program_id(0) * BO * BK, acc)
        tl.debug_barrier()  # all of the share is written before its ticket is drawn
        ticket = tl.atomic_add(tickets + tile, 1, sem="acq_rel")
        if ticket == SPLITS - 1:
            total = tl.zeros((BO, BK), dtype=tl.float32)
            # in one order, whoever came last: the sum is the same at every run
            for share in range(SPLITS):
                total += tl.load(shares + share * BO * BK, volatile=True)
            tl.store(target, total.to(gw.dtype.element_ty), mask=valid)
            tl.store(tickets + tile, 0)
    else:
        tl.store(target, acc.to(gw.dtype.element_ty), mask=valid)
