"""The sizes that `conv_output_size` computes are torch's, over thousands of random layers, and so are its refusals."""

import random
import re
from math import ceil, floor

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_utils.tracing import conv_output_size, size_formula

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
CASES = 1000  # random layers of each kind; a pass through such a tiny layer takes some 30 microseconds


def as_given(rng, axes, low, high):
    """Return a random argument as a reader may write it: one number for all axes, or one an axis."""
    numbers = tuple(rng.randint(low, high) for _ in range(axes))
    return numbers[0] if rng.random() < 0.5 else numbers


def each_axis(value, axes):
    return value if isinstance(value, tuple) else (value,) * axes


def random_layer(rng, axes):
    """Return the arguments that all kinds of layers share."""
    return {
        "size": tuple(rng.randint(1, 11) for _ in range(axes)),
        "kernel_size": as_given(rng, axes, 1, 5),
        "stride": as_given(rng, axes, 1, 4),
        "padding": as_given(rng, axes, 0, 3),
        "dilation": as_given(rng, axes, 1, 3),
    }


def run(function, *args, **kwargs):
    """Return the size that torch gives, or None where torch refuses."""
    try:
        size = tuple(function(*args, **kwargs).shape[2:])
    except (RuntimeError, ValueError):
        return None
    return size if min(size) > 0 else None  # some transposed convolutions give an empty output instead of an error


def ours(arguments):
    """Return our size, or None where we refuse, after checking that the formula says the same."""
    try:
        size = conv_output_size(**arguments)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            size_formula(**arguments)
        return None
    assert [value_of(text) for text in size_formula(**arguments).split("; ")] == list(dict.fromkeys(size)) or (
        # equal sizes may come from different kernels: then each has its formula
        [value_of(text) for text in size_formula(**arguments).split("; ")] == list(size)
    )
    return size


def value_of(text):
    """Compute a formula as it is written, independently of the code that wrote it, and compare with what it says."""
    text, _, fewer = text.partition(", less 1 window that would begin after the last pixel = ")
    left, right = text.split(" = ")
    for sign, python in {"−": "-", "·": "*", "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")"}.items():
        left = left.replace(sign, python)
    value = eval(left, {"floor": floor, "ceil": ceil})
    assert value == int(right), text
    assert not fewer or int(fewer) == value - 1
    return value - bool(fewer)


def compare(kind, cases):
    """Compare each case with torch, and make sure that the random cases meet both outcomes."""
    results = []
    for arguments, expected in cases:
        size = ours(arguments)
        assert size == expected, f"{kind} {arguments}: torch gives {expected}, we {size}"
        results.append(size)
    assert results.count(None) > 20 and len(results) - results.count(None) > 200, "too few of one outcome"


@pytest.mark.parametrize("axes", [1, 2])
def test_convolutions(axes):
    def cases():
        rng, convolve = random.Random(axes), (F.conv1d, F.conv2d)[axes - 1]
        for _ in range(CASES):
            layer = random_layer(rng, axes)
            layer["padding"] = rng.choice([layer["padding"], layer["padding"], "same", "valid"])
            size, kernel = layer["size"], each_axis(layer["kernel_size"], axes)
            given = {name: layer[name] for name in ("stride", "padding", "dilation")}
            yield layer, run(convolve, torch.zeros(1, 1, *size), torch.zeros(1, 1, *kernel), **given)

    compare("convolution", cases())


@pytest.mark.parametrize("axes", [1, 2])
def test_transposed_convolutions(axes):
    def cases():
        rng, convolve = random.Random(axes), (F.conv_transpose1d, F.conv_transpose2d)[axes - 1]
        for _ in range(CASES):
            layer = random_layer(rng, axes) | {"transposed": True, "output_padding": as_given(rng, axes, 0, 2)}
            layer["size"] = tuple(min(size, 6) for size in layer["size"])
            given = {name: layer[name] for name in ("stride", "padding", "dilation", "output_padding")}
            kernel = each_axis(layer["kernel_size"], axes)
            yield layer, run(convolve, torch.zeros(1, 1, *layer["size"]), torch.zeros(1, 1, *kernel), **given)

    compare("transposed convolution", cases())


@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("axes", [1, 2])
def test_poolings(axes, kind):
    pool = {"max": (F.max_pool1d, F.max_pool2d), "mean": (F.avg_pool1d, F.avg_pool2d)}[kind][axes - 1]

    def cases():
        rng = random.Random(axes)
        for _ in range(CASES):
            layer = random_layer(rng, axes) | {"ceil_mode": rng.random() < 0.5}
            if kind == "mean":
                layer["dilation"] = 1
            kernel, padding = each_axis(layer["kernel_size"], axes), each_axis(layer["padding"], axes)
            # torch allows a pooling no more padding than half its kernel; a size has no such limit
            layer["padding"] = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=True))
            names = ("kernel_size", "stride", "padding", "ceil_mode", *(["dilation"] if kind == "max" else []))
            yield layer, run(pool, torch.zeros(1, 1, *layer["size"]), **{name: layer[name] for name in names})

    compare(f"{kind} pooling", cases())


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_and_channels_do_not_change_the_size(groups):
    layer = nn.Conv2d(4, 8, (3, 2), stride=2, padding=1, groups=groups)
    expected = tuple(layer(torch.zeros(1, 4, 9, 7)).shape[2:])
    assert conv_output_size((9, 7), (3, 2), stride=2, padding=1) == expected == (5, 4)


def test_one_number_comes_back_for_numbers_and_a_tuple_for_pairs():
    assert conv_output_size(28, 5) == 24
    assert type(conv_output_size(28, 5)) is int
    for pair in ({"size": (28, 28)}, {"kernel_size": [5, 5]}, {"stride": (1, 1)}, {"padding": (0, 0)}):
        assert conv_output_size(**{"size": 28, "kernel_size": 5} | pair) == (24, 24)
    for pair in ({"dilation": (1, 1)}, {"output_padding": (0, 0)}):
        assert conv_output_size(28, 5, **pair) == (24, 24)
    assert conv_output_size(torch.zeros(1, 1, 28, 20).shape[2:], 5) == (24, 16)
    assert conv_output_size(np.int64(28), np.int64(5)) == 24
    assert conv_output_size((5, 6, 7), 3) == (3, 4, 5)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"size": 28, "kernel_size": 5, "padding": 2}, "⌊(28 + 2·2 − 5)/1⌋ + 1 = 28"),
        ({"size": 28, "kernel_size": 5}, "⌊(28 − 5)/1⌋ + 1 = 24"),
        ({"size": 7, "kernel_size": 2, "stride": 2, "ceil_mode": True}, "⌈(7 − 2)/2⌉ + 1 = 4"),
        ({"size": 9, "kernel_size": 3, "dilation": 2}, "⌊(9 − 2·(3 − 1) − 1)/1⌋ + 1 = 5"),
        ({"size": 5, "kernel_size": 2, "padding": "same"}, "⌊(5 + 0 + 1 − 2)/1⌋ + 1 = 5"),
        ({"size": 5, "kernel_size": 3, "padding": "same"}, "⌊(5 + 2·1 − 3)/1⌋ + 1 = 5"),
        ({"size": 5, "kernel_size": 3, "padding": "valid"}, "⌊(5 − 3)/1⌋ + 1 = 3"),
        (
            {"size": 5, "kernel_size": 3, "stride": 3, "padding": 1, "ceil_mode": True},
            "⌈(5 + 2·1 − 3)/3⌉ + 1 = 3, less 1 window that would begin after the last pixel = 2",
        ),
        ({"size": 7, "kernel_size": 2, "stride": 2, "transposed": True}, "(7 − 1)·2 + 2 = 14"),
        (
            {"size": 7, "kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "transposed": True},
            "(7 − 1)·2 − 2·1 + 3 + 1 = 14",
        ),
        ({"size": 4, "kernel_size": 3, "dilation": 2, "transposed": True}, "(4 − 1)·1 + 2·(3 − 1) + 1 = 8"),
        ({"size": (5, 6), "kernel_size": 3}, "⌊(5 − 3)/1⌋ + 1 = 3; ⌊(6 − 3)/1⌋ + 1 = 4"),
        ({"size": (6, 6), "kernel_size": 3}, "⌊(6 − 3)/1⌋ + 1 = 4"),
    ],
)
def test_formulas_to_the_letter(arguments, text):
    assert size_formula(**arguments) == text


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            {"size": 3, "kernel_size": 5},
            ValueError,
            "a kernel of 5 does not fit into 3 pixels: use a smaller kernel, or a padding of at least 1",
        ),
        (
            {"size": 2, "kernel_size": 3, "dilation": 3, "padding": 1},
            ValueError,
            "a kernel of 3, dilated to 7, does not fit into 2 + 2·1 pixels: use a smaller kernel, "
            "or a padding of at least 3",
        ),
        (
            {"size": 8, "kernel_size": 3, "padding": "same", "stride": 2},
            ValueError,
            'padding="same" needs stride 1, got stride 2: give the padding as a number',
        ),
        (
            {"size": 8, "kernel_size": 3, "padding": "full"},
            ValueError,
            'expected a padding in numbers, "same" or "valid", got \'full\'',
        ),
        (
            {"size": 8, "kernel_size": 3, "padding": "same", "transposed": True},
            ValueError,
            "a transposed convolution takes a padding in numbers, got 'same'",
        ),
        (
            {"size": 8, "kernel_size": 3, "stride": 2, "output_padding": 2, "transposed": True},
            ValueError,
            "expected an output_padding below the stride or the dilation (2), got 2",
        ),
        (
            {"size": 1, "kernel_size": 2, "padding": 1, "transposed": True},
            ValueError,
            "a padding of 1 cuts the whole output away: use a smaller one",
        ),
        (
            {"size": (5, 6), "kernel_size": (3, 3, 3)},
            ValueError,
            "expected one number for all axes, or one an axis everywhere, got size=(5, 6), kernel_size=(3, 3, 3), "
            "stride=1, padding=0, dilation=1, output_padding=0",
        ),
        ({"size": 0, "kernel_size": 3}, ValueError, "expected a size of at least 1, got 0"),
        ({"size": 8, "kernel_size": 0}, ValueError, "expected a kernel_size of at least 1, got 0"),
        ({"size": 8, "kernel_size": 3, "stride": (1, 0)}, ValueError, "expected a stride of at least 1, got 0"),
        ({"size": 8, "kernel_size": 3, "padding": -1}, ValueError, "expected a padding of at least 0, got -1"),
        ({"size": 8, "kernel_size": 3, "dilation": 0}, ValueError, "expected a dilation of at least 1, got 0"),
        (
            {"size": 8, "kernel_size": 3, "output_padding": -1},
            ValueError,
            "expected an output_padding of at least 0, got -1",
        ),
        ({"size": 28 / 2, "kernel_size": 3}, TypeError, "expected a whole number as size, got 14.0 (float)"),
        ({"size": 8, "kernel_size": True}, TypeError, "expected a whole number as kernel_size, got True (bool)"),
        ({"size": 8, "kernel_size": "3"}, TypeError, "expected a whole number as kernel_size, got '3' (str)"),
        ({"size": (8, None), "kernel_size": 3}, TypeError, "expected a whole number as size, got None (NoneType)"),
        (
            {"size": 8, "kernel_size": 3, "output_padding": "same"},
            TypeError,
            "expected a whole number as output_padding, got 'same' (str)",
        ),
    ],
)
def test_errors_say_what_came_what_was_expected_and_what_to_do(arguments, error, text):
    for function in (conv_output_size, size_formula):
        with pytest.raises(error) as raised:
            function(**arguments)
        assert str(raised.value) == text


def test_the_padding_that_the_error_advises_is_the_least_that_works():
    rng = random.Random(0)
    tried = 0
    for _ in range(CASES):
        arguments = random_layer(rng, 1) | {"size": rng.randint(1, 8)}
        arguments = {name: value[0] if isinstance(value, tuple) else value for name, value in arguments.items()}
        try:
            conv_output_size(**arguments)
        except ValueError as error:
            tried += 1
            padding = int(re.search(r"at least (\d+)$", str(error))[1])
            assert conv_output_size(**arguments | {"padding": padding}) >= 1
            with pytest.raises(ValueError, match="does not fit"):
                conv_output_size(**arguments | {"padding": padding - 1})
    assert tried > 50
