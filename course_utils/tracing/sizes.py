"""How large the output of a convolution, a pooling or a transposed convolution is, and the formula that says so."""

from collections.abc import Sequence
from numbers import Integral

Size = int | Sequence[int]


def conv_output_size(
    size: Size,
    kernel_size: Size,
    *,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    transposed: bool = False,
    output_padding: Size = 0,
) -> int | tuple[int, ...]:
    """Return the output size along one axis, or along each when an argument is given as a pair, as torch computes it.

    Takes every argument of Conv2d and of the poolings (`stride` of a pooling is its `kernel_size` unless given), and
    with `transposed` those of ConvTranspose2d. `padding` counts each side; "same" and "valid" are Conv2d's words.
    Raises TypeError for sizes that are not whole numbers and ValueError for a layer that cannot be applied.
    Source: the Shape sections of torch's documentation; Dumoulin & Visin, arXiv:1603.07285, relationships 6 and 14.

    >>> conv_output_size(28, 5, padding=2), conv_output_size((5, 6), 3), conv_output_size(7, 2, stride=2)
    (28, (3, 4), 3)
    """
    axes = split_axes(size, kernel_size, stride, padding, dilation, output_padding)
    sizes = tuple(one_axis(*axis, ceil_mode=ceil_mode, transposed=transposed)[0] for axis in axes)
    return sizes if any(map(is_sequence, (size, kernel_size, stride, padding, dilation, output_padding))) else sizes[0]


def size_formula(
    size: Size,
    kernel_size: Size,
    *,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    transposed: bool = False,
    output_padding: Size = 0,
) -> str:
    """Return the formula with its numbers put in; axes that differ are written one after the other.

    Takes the arguments of `conv_output_size` and raises the same errors.

    >>> size_formula(28, 5, padding=2)
    '⌊(28 + 2·2 − 5)/1⌋ + 1 = 28'
    >>> size_formula((5, 6), 3, dilation=2)
    '⌊(5 − 2·(3 − 1) − 1)/1⌋ + 1 = 1; ⌊(6 − 2·(3 − 1) − 1)/1⌋ + 1 = 2'
    """
    axes = split_axes(size, kernel_size, stride, padding, dilation, output_padding)
    texts = [one_axis(*axis, ceil_mode=ceil_mode, transposed=transposed)[1] for axis in axes]
    return "; ".join(dict.fromkeys(texts))


def one_axis(
    size: int,
    kernel_size: int,
    stride: int,
    padding: int | str,
    dilation: int,
    output_padding: int,
    *,
    ceil_mode: bool,
    transposed: bool,
) -> tuple[int, str]:
    """Return the output size along one axis, and the formula with its numbers put in."""
    if transposed:
        return transposed_axis(size, kernel_size, stride, padding, dilation, output_padding)
    wide = dilation * (kernel_size - 1) + 1  # pixels from the kernel's first to its last
    before, after = (padding, padding) if isinstance(padding, Integral) else padding_by_word(padding, wide, stride)
    padded = f"{size}" + (f" + 2·{before}" if before == after else f" + {before} + {after}") * (after > 0)
    kernel = f"{kernel_size}" if dilation == 1 else f"{dilation}·({kernel_size} − 1) − 1"
    room = size + before + after - wide
    steps = -(-room // stride) if ceil_mode else room // stride
    if steps < 0:
        raise ValueError(
            f"a kernel of {kernel_size}{f', dilated to {wide},' * (dilation > 1)} does not fit into {padded} pixels: "
            f"use a smaller kernel, or a padding of at least {-(-(wide - size) // 2)}"
        )
    formula = f"{'⌈' if ceil_mode else '⌊'}({padded} − {kernel})/{stride}{'⌉' if ceil_mode else '⌋'} + 1 = {steps + 1}"
    if ceil_mode and steps * stride >= size + before:  # torch starts no window beyond the last pixel
        return steps, f"{formula}, less 1 window that would begin after the last pixel = {steps}"
    return steps + 1, formula


def transposed_axis(
    size: int, kernel_size: int, stride: int, padding: int | str, dilation: int, output_padding: int
) -> tuple[int, str]:
    """Return the output size of a transposed convolution along one axis, and its formula."""
    if isinstance(padding, str):
        raise ValueError(f"a transposed convolution takes a padding in numbers, got {padding!r}")
    if output_padding >= max(stride, dilation):
        raise ValueError(
            f"expected an output_padding below the stride or the dilation ({max(stride, dilation)}), "
            f"got {output_padding}"
        )
    output = (size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + 1 + output_padding
    if output < 1:
        raise ValueError(f"a padding of {padding} cuts the whole output away: use a smaller one")
    kernel = f"{kernel_size}" if dilation == 1 else f"{dilation}·({kernel_size} − 1) + 1"
    cut, more = f" − 2·{padding}" * (padding > 0), f" + {output_padding}" * (output_padding > 0)
    return output, f"({size} − 1)·{stride}{cut} + {kernel}{more} = {output}"


def padding_by_word(word: str, wide: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after that Conv2d means by "same" or "valid"."""
    if word not in ("same", "valid"):
        raise ValueError(f'expected a padding in numbers, "same" or "valid", got {word!r}')
    if word == "valid":
        return 0, 0
    if stride != 1:
        raise ValueError(f'padding="same" needs stride 1, got stride {stride}: give the padding as a number')
    return (wide - 1) // 2, wide // 2  # an even kernel gets one more after than before


def split_axes(size: Size, *arguments: Size | str) -> list[tuple]:
    """Return one tuple of checked arguments an axis; a single number holds for every axis."""
    names = ("size", "kernel_size", "stride", "padding", "dilation", "output_padding")
    values = (size, *arguments)
    lengths = {len(value) for value in values if is_sequence(value)} or {1}
    if len(lengths) > 1:
        written = ", ".join(f"{name}={value!r}" for name, value in zip(names, values, strict=True))
        raise ValueError(f"expected one number for all axes, or one an axis everywhere, got {written}")
    for name, value in zip(names, values, strict=True):
        check_whole(name, value)
    columns = [value if is_sequence(value) else [value] * max(lengths) for value in values]
    return list(zip(*columns, strict=True))


def is_sequence(value: object) -> bool:
    """Say whether a value gives one number an axis; a word such as "same" does not."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def check_whole(name: str, value: Size | str) -> None:
    """Raise unless these are whole numbers from 1 on, from 0 on for paddings, which may also be words."""
    least = 0 if "padding" in name else 1
    for number in value if is_sequence(value) else [value]:
        if isinstance(number, str) and name == "padding":
            continue
        if isinstance(number, bool) or not isinstance(number, Integral):
            raise TypeError(f"expected a whole number as {name}, got {number!r} ({type(number).__name__})")
        if number < least:
            article = "an" if name.startswith("o") else "a"
            raise ValueError(f"expected {article} {name} of at least {least}, got {number}")
