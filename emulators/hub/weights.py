"""Real safetensors files with repeatable random weights, from the standard library alone.

The format is that of the safetensors library, version 0.4 and later: eight bytes with the length of a JSON
header, the header, the tensors. Random bytes become small finite numbers when the byte that holds the
exponent is looked up in a table. `random.Random(seed).randbytes` gives the same bytes on every machine and
every Python.
"""

import json
import random
import struct
from collections.abc import Iterator, Mapping
from itertools import chain
from math import prod
from typing import Literal

Shape = tuple[int, ...]
Precision = Literal["F16", "F32"]

BYTES_PER_NUMBER: Mapping[Precision, int] = {"F16": 2, "F32": 4}

_F32_EXPONENTS = (0x3A, 0x3B, 0x3B, 0x3C)
"""High bytes of positive float32 numbers from 2**-11 to 2**-5, which is 0.03125."""

_F16_EXPONENTS = (0x1C, 0x20, 0x20, 0x24)
"""High bytes of positive float16 numbers from 2**-8 to 2**-5, with an empty mantissa."""

_F32_TABLE = bytes((value & 0x80) | _F32_EXPONENTS[value & 3] for value in range(256))
_F16_TABLE = bytes((value & 0x80) | _F16_EXPONENTS[value & 3] | (value >> 2 & 3) for value in range(256))

_FEATURES = 64
_GROWTH = 32
_BLOCKS = 6
_COLOURS = 3
_KERNEL = 9
_CENTRE = 4
_TENT = tuple(number / 16 for number in (1, 2, 1, 2, 4, 2, 1, 2, 1))
_ONE = tuple(float(position == _CENTRE) for position in range(_KERNEL))


class StateDict:
    """Tensors of one precision, by name, in one run of bytes; all are random until something else is set."""

    def __init__(self, shapes: Mapping[str, Shape], *, seed: int, precision: Precision) -> None:
        self.shapes = dict(shapes)
        self.precision = precision
        self.width = BYTES_PER_NUMBER[precision]
        self.starts: dict[str, int] = {}
        total = 0
        for name, shape in self.shapes.items():
            self.starts[name] = total
            total += prod(shape) * self.width
        self.data = _small_numbers(total, seed=seed, precision=precision)

    def set(self, name: str, first: int, numbers: tuple[float, ...]) -> None:
        """Puts `numbers` into a tensor, from its `first` element on, counted in storage order."""
        kind = "e" if self.precision == "F16" else "f"
        start = self.starts[name] + first * self.width
        struct.pack_into(f"<{len(numbers)}{kind}", self.data, start, *numbers)

    def clear(self, name: str, first: int, count: int) -> None:
        """Zeroes `count` elements of a tensor."""
        start = self.starts[name] + first * self.width
        self.data[start : start + count * self.width] = bytes(count * self.width)

    def safetensors(self, about: Mapping[str, str]) -> bytes:
        """The file, with `about` as its metadata; the header ends at a multiple of eight bytes."""
        header: dict[str, object] = {"__metadata__": dict(about)}
        for name, shape in self.shapes.items():
            start = self.starts[name]
            offsets = [start, start + prod(shape) * self.width]
            header[name] = {"dtype": self.precision, "shape": list(shape), "data_offsets": offsets}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return b"".join((len(text).to_bytes(8, "little"), text, self.data))


def upscaler() -> bytes:
    """An RRDBNet for 4x upscaling in the names of Real-ESRGAN: 64 features, 6 blocks, float32, 18 MB.

    Its blocks are random, as is most of the rest. But the first three features carry the picture's colours
    past them, and are smoothed after each doubling, so that the result is the input, four times as large,
    with a slight tint: a newcomer sees a picture and not noise.
    """
    state = StateDict(dict(_rrdbnet_shapes()), seed=4, precision="F32")
    passing = {"conv_first": _ONE, "conv_up1": _TENT, "conv_up2": _TENT, "conv_hr": _ONE, "conv_last": _ONE}
    for layer, kernel in passing.items():
        inputs = state.shapes[f"{layer}.weight"][1]
        state.clear(f"{layer}.bias", 0, _COLOURS)
        for colour in range(_COLOURS):
            row = colour * inputs * _KERNEL
            colours_in_row = inputs if layer != "conv_last" else _COLOURS
            state.clear(f"{layer}.weight", row, colours_in_row * _KERNEL)
            state.set(f"{layer}.weight", row + colour * _KERNEL, kernel)
    return state.safetensors({"format": "pt", "title": "comfyport quickstart 4x"})


def checkpoint() -> bytes:
    """A stand-in checkpoint, 24 MiB of float16: ComfyUI's emulator takes it, ComfyUI itself does not."""
    shapes = {f"quickstart.blocks.{number}.weight": (1024, 1024) for number in range(12)}
    return StateDict(shapes, seed=1, precision="F16").safetensors(
        {"format": "pt", "title": "comfyport quickstart: random numbers, not a model"}
    )


def lora() -> bytes:
    """A stand-in LoRA, 16 MiB of float16, of which the same is true."""
    shapes: dict[str, Shape] = {}
    for number in range(32):
        shapes[f"lora_unet_quickstart_{number}.lora_down.weight"] = (64, 2048)
        shapes[f"lora_unet_quickstart_{number}.lora_up.weight"] = (2048, 64)
    return StateDict(shapes, seed=2, precision="F16").safetensors(
        {"format": "pt", "title": "comfyport quickstart: random numbers, not a LoRA"}
    )


def _rrdbnet_shapes() -> Iterator[tuple[str, Shape]]:
    yield from _conv("conv_first", _COLOURS, _FEATURES)
    for block in range(_BLOCKS):
        for dense in (1, 2, 3):
            for conv in range(1, 6):
                inputs = _FEATURES + _GROWTH * (conv - 1)
                outputs = _FEATURES if conv == 5 else _GROWTH
                yield from _conv(f"body.{block}.rdb{dense}.conv{conv}", inputs, outputs)
    yield from chain.from_iterable(
        _conv(name, _FEATURES, _FEATURES) for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr")
    )
    yield from _conv("conv_last", _FEATURES, _COLOURS)


def _conv(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs, 3, 3)
    yield f"{name}.bias", (outputs,)


def _small_numbers(count: int, *, seed: int, precision: Precision) -> bytearray:
    """`count` bytes of numbers below 0.05, either sign, none of them infinite or NaN."""
    data = bytearray(random.Random(seed).randbytes(count))
    width = BYTES_PER_NUMBER[precision]
    table = _F32_TABLE if precision == "F32" else _F16_TABLE
    data[width - 1 :: width] = data[width - 1 :: width].translate(table)
    return data
