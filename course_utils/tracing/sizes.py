"""How large the output of a convolution, a pooling or a transposed convolution is, and the formula that says so."""

from numbers import Integral

Size = int | list[int] | tuple[int, ...]
DEFAULTS = {"size": 1, "kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
LISTS = list | tuple


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
    numbers = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding}
    axes = each_axis(size=size, kernel_size=kernel_size, **numbers, ceil_mode=ceil_mode, transposed=transposed)
    sizes = tuple(output for output, _ in axes)
    several = any(isinstance(value, LISTS) for value in (size, kernel_size, *numbers.values()))
    return sizes if several else sizes[0]


def size_formula(size: Size, kernel_size: Size, **layer: Size | str | bool) -> str:
    """Return the formula with its numbers put in; axes that differ are written one after the other.

    Takes the arguments of `conv_output_size` and raises the same errors.

    >>> size_formula(28, 5, padding=2)
    '⌊(28 + 2·2 − 5)/1⌋ + 1 = 28'
    >>> size_formula((5, 6), 3, dilation=2)
    '⌊(5 − 2·(3 − 1) − 1)/1⌋ + 1 = 1; ⌊(6 − 2·(3 − 1) − 1)/1⌋ + 1 = 2'
    """
    formulas = [formula for _, formula in each_axis(size=size, kernel_size=kernel_size, **layer)]
    return "; ".join(dict.fromkeys(formulas))


def each_axis(*, ceil_mode: bool = False, transposed: bool = False, **numbers: Size | str) -> list[tuple[int, str]]:
    """Return output size and formula along each axis."""
    axes = split_axes(**numbers)
    return [transposed_axis(**axis) if transposed else window_axis(**axis, ceil_mode=ceil_mode) for axis in axes]


def split_axes(**numbers: Size | str) -> list[dict]:
    """Return a layer's numbers along each axis, by name and checked; one number, or a list of one, holds for all."""
    numbers = DEFAULTS | numbers
    given = {name: value if isinstance(value, LISTS) else [value] for name, value in numbers.items()}
    lengths = {len(values) for values in given.values()} - {1} or {1}
    if len(lengths) > 1:
        written = ", ".join(f"{name}={value!r}" for name, value in numbers.items())
        raise ValueError(f"expected one number for all axes, or one an axis everywhere, got {written}")
    for name, values in given.items():
        for number in values:
            check_whole(name, number)
    return [{name: values[k % len(values)] for name, values in given.items()} for k in range(*lengths)]


def check_whole(name: str, number: int | str) -> None:
    """Raise unless this is a whole number from 1 on, from 0 on for paddings; a padding may also be a word."""
    if isinstance(number, str) and name == "padding":
        return
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise TypeError(f"expected a whole number as {name}, got {number!r} ({type(number).__name__})")
    least = 0 if "padding" in name else 1
    if number < least:
        raise ValueError(f"expected {'an' if name[0] == 'o' else 'a'} {name} of at least {least}, got {number}")


def window_axis(
    size: int, kernel_size: int, stride: int, padding: int | str, dilation: int, output_padding: int, ceil_mode: bool
) -> tuple[int, str]:
    """Return the output size of a sliding window along one axis, and the formula with its numbers put in."""
    wide = dilation * (kernel_size - 1) + 1  # pixels from the kernel's first to its last
    before, after = both_paddings(padding, wide, stride)
    padded = f"{size}" + (f" + 2·{before}" if before == after else f" + {before} + {after}") * (after > 0)
    kernel = f"{kernel_size}" if dilation == 1 else f"{dilation}·({kernel_size} − 1) − 1"
    room = size + before + after - wide
    steps = -(-room // stride) if ceil_mode else room // stride
    if steps < 0:
        raise ValueError(
            f"a kernel of {kernel_size}{f', dilated to {wide},' * (dilation > 1)} does not fit into {padded} pixels: "
            f"use a smaller kernel, or a padding of at least {-(-(wide - size) // 2)}"
        )
    left, right = "⌈⌉" if ceil_mode else "⌊⌋"
    formula = f"{left}({padded} − {kernel})/{stride}{right} + 1 = {steps + 1}"
    if ceil_mode and steps * stride >= size + before:  # torch starts no window beyond the last pixel
        return steps, f"{formula}, less 1 window that would begin after the last pixel = {steps}"
    return steps + 1, formula


def both_paddings(padding: int | str, wide: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after; "same" gives a kernel of even width one more after than before."""
    if not isinstance(padding, str):
        return padding, padding
    if padding not in ("same", "valid"):
        raise ValueError(f'expected a padding in numbers, "same" or "valid", got {padding!r}')
    if padding == "same" and stride != 1:
        raise ValueError(f'padding="same" needs stride 1, got stride {stride}: give the padding as a number')
    return ((wide - 1) // 2, wide // 2) if padding == "same" else (0, 0)


def transposed_axis(
    size: int, kernel_size: int, stride: int, padding: int | str, dilation: int, output_padding: int
) -> tuple[int, str]:
    """Return the output size of a transposed convolution along one axis, and its formula."""
    most = max(stride, dilation)
    if isinstance(padding, str):
        raise ValueError(f"a transposed convolution takes a padding in numbers, got {padding!r}")
    if output_padding >= most:
        raise ValueError(f"expected an output_padding below the stride or the dilation ({most}), got {output_padding}")
    output = (size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + 1 + output_padding
    if output < 1:
        raise ValueError(f"a padding of {padding} cuts the whole output away: use a smaller one")
    kernel = f"{kernel_size}" if dilation == 1 else f"{dilation}·({kernel_size} − 1) + 1"
    cut, more = f" − 2·{padding}" * (padding > 0), f" + {output_padding}" * (output_padding > 0)
    return output, f"({size} − 1)·{stride}{cut} + {kernel}{more} = {output}"
