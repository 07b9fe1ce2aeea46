"""Chapter 04's exercises: sizes, a convolution and a pooling by hand, receptive fields, two bugs."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.checks.engine import (
    Exercise,
    Mistake,
    NotAttempted,
    as_tensor,
    choice_exercise,
    describe,
    function_exercise,
    untouched,
    value_exercise,
)


def draw(generator: torch.Generator, low: int, high: int) -> int:
    """Return a random whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def run_tensor(function: Callable, case: tuple) -> object:
    """Return what the answer returns; an array or nested lists count as a tensor."""
    return as_tensor(function(*case))


# ------------------------------------------------------------------------------------------------------- output size


def size_cases(generator: torch.Generator) -> list[tuple[int, int, int, int, int]]:
    """Draw sizes at which a window fits. None leaves half a step, where Python's round goes up or down."""
    cases = [(28, 5, 1, 2, 1), (28, 2, 2, 0, 1), (27, 3, 2, 1, 1)]
    for remainder in (0, 1, 2, 0, 1, 2):
        kernel_size, padding, dilation = draw(generator, 2, 5), draw(generator, 1, 3), draw(generator, 2, 3)
        wide = dilation * (kernel_size - 1) + 1
        cases.append((wide + 3 * draw(generator, 4, 9) + remainder - 2 * padding, kernel_size, 3, padding, dilation))
    return cases


def size_after(
    size: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
    *,
    sides: int = 2,
    plus: int = 1,
    rounded: Callable = math.floor,
    widen: Callable = lambda kernel_size, dilation: dilation * (kernel_size - 1) + 1,
) -> float:
    """Return the output size of a convolution; the switches after the star make the typical mistakes."""
    return rounded((size + sides * padding - widen(kernel_size, dilation)) / stride) + plus


WIDEN = "dilation widens the kernel: it reaches over D·(K − 1) + 1 pixels"
FLOOR = "the last partial step is dropped: floor"

output_size = function_exercise(
    size_after,
    size_cases,
    [
        Mistake(f"a size is a whole number; {FLOOR}", partial(size_after, rounded=float)),
        Mistake(f"this rounds up; {FLOOR}", partial(size_after, rounded=math.ceil)),
        Mistake(f"this rounds to the nearest; {FLOOR}", partial(size_after, rounded=round)),
        Mistake("padding is on both sides: 2·P", partial(size_after, sides=1)),
        Mistake("the padding is missing: 2·P pixels more", partial(size_after, sides=0)),
        Mistake("one too few: count the first position too, +1", partial(size_after, plus=0)),
        Mistake(
            f"K alone is not enough: {WIDEN}", partial(size_after, widen=lambda kernel_size, dilation: kernel_size)
        ),
        Mistake(
            f"D·K is too much: {WIDEN}", partial(size_after, widen=lambda kernel_size, dilation: dilation * kernel_size)
        ),
        Mistake(
            f"D·(K − 1) is one too few: {WIDEN}",
            partial(size_after, widen=lambda kernel_size, dilation: dilation * (kernel_size - 1)),
        ),
        Mistake(
            "the stride is missing: it divides the way from the first position to the last",
            lambda size, kernel_size, stride, padding, dilation: size_after(size, kernel_size, 1, padding, dilation),
        ),
    ],
    praise="One formula for every convolution and every pooling: ⌊(H + 2P − D(K − 1) − 1)/S⌋ + 1.",
    hints=[
        "How many pixels are there with padding, and over how many does the kernel reach?",
        "A kernel of 3 with dilation 2 reaches over 5 pixels: two gaps of 2, and the first pixel.",
        "The first window needs no step. How many whole steps of S fit into the pixels that are left?",
    ],
)

# -------------------------------------------------------------------------------------------------------- conv2d


def conv_cases(generator: torch.Generator) -> list[tuple]:
    """Draw images, weights, biases, stride and padding: nothing square, more channels than one."""
    cases = []
    for batch, channels, maps, kernel, stride, padding in (
        (2, 3, 4, (3, 3), 1, 0),
        (3, 2, 2, (2, 3), 2, 1),
        (2, 3, 2, (3, 3), 2, 2),
        (2, 2, 3, (3, 2), 3, 1),
    ):
        height = draw(generator, 7, 8)
        images = torch.randn(batch, channels, height, height + draw(generator, 2, 3), generator=generator)
        weight = torch.randn(maps, channels, *kernel, generator=generator)
        cases.append((images, weight, torch.randn(maps, generator=generator), stride, padding))
    return cases


def one_sided(images: Tensor, weight: Tensor, bias: Tensor, stride: int, sides: Sequence[int]) -> Tensor:
    return F.conv2d(F.pad(images, tuple(sides)), weight, bias, stride)


def biased(factor: Callable[[Tensor], int]) -> Callable:
    """Return a convolution whose bias is added `factor(weight)` times."""
    return lambda images, weight, bias, stride, padding: F.conv2d(
        images, weight, factor(weight) * bias, stride, padding
    )


def ends_early(images: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """Convolve over range(0, H − K, S), which leaves out the last window only where it fits exactly."""
    rows, columns = (images.shape[axis] + 2 * padding - weight.shape[axis] for axis in (2, 3))
    return F.conv2d(images, weight, bias, stride, padding)[:, :, : -(-rows // stride), : -(-columns // stride)]


def moves_by_one(images: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """Use the stride for the output's size, but not for the place of the windows."""
    rows, columns = F.conv2d(images, weight, bias, stride, padding).shape[2:]
    return F.conv2d(images, weight, bias, 1, padding)[:, :, :rows, :columns]


PADDED = "padding is on both sides of an axis: this pads one side only"
LAST = "the last position is missing: there are ⌊(H + 2P − K)/S⌋ + 1 in each axis"

conv2d = function_exercise(
    F.conv2d,
    conv_cases,
    [
        Mistake(
            "the kernel is flipped: that is mathematical convolution; torch slides the kernel as it is",
            lambda x, w, b, s, p: F.conv2d(x, w.flip(2, 3), b, s, p),
        ),
        Mistake(PADDED, lambda x, w, b, s, p: one_sided(x, w, b, s, (p, 0, p, 0))),
        Mistake(PADDED, lambda x, w, b, s, p: one_sided(x, w, b, s, (0, p, 0, p))),
        Mistake("rows are padded, columns are not", lambda x, w, b, s, p: F.conv2d(x, w, b, s, (p, 0))),
        Mistake("columns are padded, rows are not", lambda x, w, b, s, p: F.conv2d(x, w, b, s, (0, p))),
        Mistake(
            "the padding is missing: P rows or columns of zeros on each side",
            lambda x, w, b, s, p: F.conv2d(x, w, b, s),
        ),
        Mistake("the stride is missing: windows begin S pixels apart", lambda x, w, b, s, p: F.conv2d(x, w, b, 1, p)),
        Mistake(
            "the output has the right size, but the windows move by 1: window (i, j) begins at i · stride, j · stride",
            moves_by_one,
        ),
        Mistake("only the rows step by the stride: columns do too", lambda x, w, b, s, p: F.conv2d(x, w, b, (s, 1), p)),
        Mistake("only the columns step by the stride: rows do too", lambda x, w, b, s, p: F.conv2d(x, w, b, (1, s), p)),
        Mistake(LAST, ends_early),
        Mistake(LAST, lambda *case: F.conv2d(*case)[:, :, :-1, :-1]),
        Mistake(f"in the rows {LAST}", lambda *case: F.conv2d(*case)[:, :, :-1]),
        Mistake(f"in the columns {LAST}", lambda *case: F.conv2d(*case)[..., :-1]),
        Mistake(
            "one position too many: a window that runs over the edge is dropped, so floor",
            lambda x, w, b, s, p: one_sided(x, w, b, s, (p, p + s - 1, p, p + s - 1)),
        ),
        Mistake(
            "only channel 0 is used: sum over all input channels",
            lambda x, w, b, s, p: F.conv2d(x[:, :1], w[:, :1], b, s, p),
        ),
        Mistake(
            "this is the mean over the input channels: sum them",
            lambda x, w, b, s, p: F.conv2d(x, w / x.shape[1], b, s, p),
        ),
        Mistake("the bias is missing: add it once to each map", biased(lambda weight: 0)),
        Mistake(
            "the bias is added for each input channel: add it once to each sum", biased(lambda weight: weight.shape[1])
        ),
        Mistake("the bias is added to each product: add it once to each sum", biased(lambda weight: weight[0].numel())),
        Mistake(
            "the bias is added for each pixel of the window: add it once to each sum",
            biased(lambda weight: weight[0, 0].numel()),
        ),
        Mistake("the batch axis is lost: return one output for each image", lambda *case: F.conv2d(*case)[0]),
        Mistake("only the first image comes back: treat the whole batch", lambda *case: F.conv2d(*case)[:1]),
        Mistake("only the last image comes back: treat the whole batch", lambda *case: F.conv2d(*case)[-1]),
        Mistake("batch and maps are swapped: the order is (B, N, H, W)", lambda *case: F.conv2d(*case).transpose(0, 1)),
        Mistake("rows and columns are swapped in the output", lambda *case: F.conv2d(*case).transpose(2, 3)),
    ],
    praise="Equal to F.conv2d for every size, stride and padding that was tried.",
    hints=[
        "Pad first: zeros of the padded size, the images in their middle. F.pad takes left, right, top, bottom.",
        "Output row i begins at padded row i · stride, and there are ⌊(H + 2P − K)/S⌋ + 1 of them; columns alike.",
        "One output number: the sum of window · kernel over channels, rows and columns, then the map's bias, once.",
    ],
    run=run_tensor,
)

# -------------------------------------------------------------------------------------------------------- same padding


def kernel_cases(generator: torch.Generator) -> list[tuple[int, int]]:
    return [(kernel_size, dilation) for kernel_size in (3, 5, 1, 7, 2, 4, 11) for dilation in (1, 2, 3)]


def even_or_none(number: float) -> int | None:
    """Return half of an even number, None for an odd one: it has no equal halves."""
    return None if number % 2 else number // 2


def odd_kernel_only(function: Callable[[int, int], float]) -> Callable:
    """Return the same function, but None for every even kernel."""
    return lambda kernel_size, dilation: function(kernel_size, dilation) if kernel_size % 2 else None


NO_EQUAL = "where D·(K − 1) is odd, no equal padding exists: return None"
TOGETHER = "that is both sides together: each side gets half"
USE_DILATION = "dilation is ignored: the kernel loses D·(K − 1) pixels, so use D·(K − 1)/2"

same_padding = function_exercise(
    lambda kernel_size, dilation: even_or_none(dilation * (kernel_size - 1)),
    kernel_cases,
    [
        Mistake(USE_DILATION, lambda kernel_size, dilation: kernel_size // 2),
        Mistake(USE_DILATION, lambda kernel_size, dilation: (kernel_size - 1) // 2),
        Mistake(USE_DILATION, lambda kernel_size, dilation: even_or_none(kernel_size - 1)),
        Mistake(TOGETHER, lambda kernel_size, dilation: kernel_size - 1),
        Mistake(TOGETHER, lambda kernel_size, dilation: dilation * (kernel_size - 1)),
        Mistake(TOGETHER, odd_kernel_only(lambda kernel_size, dilation: dilation * (kernel_size - 1))),
        Mistake(
            TOGETHER,
            lambda kernel_size, dilation: None if dilation * (kernel_size - 1) % 2 else dilation * (kernel_size - 1),
        ),
        Mistake(NO_EQUAL, lambda kernel_size, dilation: dilation * (kernel_size - 1) // 2),
        Mistake(NO_EQUAL, lambda kernel_size, dilation: dilation * (kernel_size // 2)),
        Mistake(
            f"half a pixel cannot be padded; {NO_EQUAL}", lambda kernel_size, dilation: dilation * (kernel_size - 1) / 2
        ),
        Mistake(
            "not every even kernel is hopeless: K = 2 with dilation 2 loses 2 pixels, one on each side",
            odd_kernel_only(lambda kernel_size, dilation: dilation * (kernel_size - 1) // 2),
        ),
        Mistake("None comes back for every kernel: is a return missing?", lambda kernel_size, dilation: None),
    ],
    praise="An odd kernel can always keep the size; an even one only where the dilation is even.",
    hints=[
        "With stride 1 and no padding, how many pixels does a kernel of 3 lose? One of 5? One of 3 with dilation 2?",
        "It loses D·(K − 1). Equal padding gives half of that back on each side, if it has a half.",
    ],
)

# ------------------------------------------------------------------------------------------------------------ pooling


def map_cases(generator: torch.Generator) -> list[tuple]:
    """Draw maps with mostly negative numbers, so that a padding of zeros shows."""
    cases = []
    for kernel_size, stride, padding in ((2, 2, 0), (3, 2, 1), (2, 1, 0), (4, 3, 2), (2, 3, 1)):
        height = draw(generator, 7, 8)
        shape = (2, 3, height, height + draw(generator, 2, 3))
        cases.append((torch.randn(*shape, generator=generator) - 1.5, kernel_size, stride, padding))
    return cases


def padded_pool(maps: Tensor, kernel_size: int, stride: int, sides: Sequence[int], value: float = -math.inf) -> Tensor:
    return F.max_pool2d(F.pad(maps, tuple(sides), value=value), kernel_size, stride)


def pools_early(maps: Tensor, kernel_size: int, stride: int, padding: int) -> Tensor:
    """Pool over range(0, H − K, S), which leaves out the last window only where it fits exactly."""
    rows, columns = (size + 2 * padding - kernel_size for size in maps.shape[2:])
    return F.max_pool2d(maps, kernel_size, stride, padding)[:, :, : -(-rows // stride), : -(-columns // stride)]


ONE_SIDE = "the padding is on one side only: pad both sides of an axis"

max_pool = function_exercise(
    F.max_pool2d,
    map_cases,
    [
        Mistake(
            "negative maxima became 0 at the border: pad with −∞, not with zeros",
            lambda x, k, s, p: padded_pool(x, k, s, (p, p, p, p), value=0.0),
        ),
        Mistake(ONE_SIDE, lambda x, k, s, p: padded_pool(x, k, s, (p, 0, p, 0))),
        Mistake(ONE_SIDE, lambda x, k, s, p: padded_pool(x, k, s, (0, p, 0, p))),
        Mistake(
            "the padding is missing: P rows or columns of −∞ on each side", lambda x, k, s, p: F.max_pool2d(x, k, s)
        ),
        Mistake("the stride is missing: it need not be the kernel's size", lambda x, k, s, p: F.max_pool2d(x, k, k, p)),
        Mistake("the stride is missing: windows begin S pixels apart", lambda x, k, s, p: F.max_pool2d(x, k, 1, p)),
        Mistake("this is the mean of each window: take the maximum", F.avg_pool2d),
        Mistake(
            "this is the smallest number of each window: take the largest", lambda x, *case: -F.max_pool2d(-x, *case)
        ),
        Mistake(
            "one window too many: a window that runs over the edge is dropped, so floor",
            partial(F.max_pool2d, ceil_mode=True),
        ),
        Mistake(
            "one window too many: a window that runs over the edge is dropped, so floor",
            lambda x, k, s, p: padded_pool(x, k, s, (p, p + s - 1, p, p + s - 1)),
        ),
        Mistake(LAST, pools_early),
        Mistake(LAST, lambda *case: F.max_pool2d(*case)[:, :, :-1, :-1]),
        Mistake(
            "each map is pooled alone: do not take the maximum over the channels",
            lambda *case: F.max_pool2d(*case).amax(dim=1),
        ),
        Mistake("rows and columns are swapped in the output", lambda *case: F.max_pool2d(*case).transpose(2, 3)),
    ],
    praise="Equal to F.max_pool2d, also where a window holds nothing but negative numbers and padding.",
    hints=[
        "The loops are those of the convolution; each map is treated alone.",
        "What number can never win a maximum? Pad with that one.",
        "window.amax(dim=(2, 3)) is the maximum of a (B, C, K, K) window, one for each image and map.",
    ],
    run=run_tensor,
)

# ---------------------------------------------------------------------------------------------------- receptive field

A1_LAYERS = [(5, 1), (2, 2), (5, 1), (2, 2)]


def stack_cases(generator: torch.Generator) -> list[tuple[list[tuple[int, int]]]]:
    drawn = [[(draw(generator, 2, 5), draw(generator, 1, 3)) for _ in range(draw(generator, 3, 5))] for _ in range(3)]
    return [([*A1_LAYERS],), ([(3, 1), (3, 1), (3, 1)],), ([(3, 2), (2, 2), (3, 1)],), *((stack,) for stack in drawn)]


def field_of(
    layers: Sequence[tuple[int, int]],
    *,
    start: int = 1,
    stride_first: bool = False,
    use_stride: bool = True,
    skip: Callable[[int, int], bool] = lambda kernel_size, stride: False,
) -> int:
    """Return the receptive field of a stack of layers; the switches after the star make the typical mistakes."""
    field, jump = start, 1
    for kernel_size, stride in layers:
        if skip(kernel_size, stride):
            continue
        after = jump * stride if use_stride else jump
        field += (kernel_size - 1) * (after if stride_first else jump)
        jump = after
    return field


def backward_rule_forward(layers: Sequence[tuple[int, int]]) -> int:
    field = 1
    for kernel_size, stride in layers:
        field = (field - 1) * stride + kernel_size
    return field


POOLS = "poolings are left out: they widen the field and space out the units too"

receptive_field = function_exercise(
    field_of,
    stack_cases,
    [
        Mistake(
            "the kernel sizes are added: each layer adds K − 1 steps, not K pixels",
            lambda layers: sum(kernel_size for kernel_size, _ in layers),
        ),
        Mistake(
            "the strides are ignored: after a stride of 2 the next layer's pixels lie 2 apart",
            partial(field_of, use_stride=False),
        ),
        Mistake(
            "that uses the spacing after the layer: a layer's pixels are spaced by the strides of the layers before it",
            partial(field_of, stride_first=True),
        ),
        Mistake(POOLS, partial(field_of, skip=lambda kernel_size, stride: kernel_size == stride)),
        Mistake(POOLS, partial(field_of, skip=lambda kernel_size, stride: stride > 1)),
        Mistake("one pixel too few: without any layer a unit sees 1 pixel, so start at 1", partial(field_of, start=0)),
        Mistake(
            "(field − 1)·S + K is the rule from the last layer back to the first: yours runs the other way",
            backward_rule_forward,
        ),
        Mistake(
            "that is how far apart neighboring units look, the product of the strides: the field is wanted",
            lambda layers: math.prod(stride for _, stride in layers),
        ),
    ],
    praise="16 for the network of section 17: the same as the poisoned pixels say.",
    hints=[
        "Keep two numbers: the field, 1 before any layer, and the jump, how many pixels apart neighboring units look.",
        "A layer reaches K − 1 units further, and each of these units is one jump wide.",
        "Then the stride multiplies the jump, for the layers that follow.",
    ],
)

# ---------------------------------------------------------------------------------------------- the first dense layer

dense_features = value_exercise(
    3200,
    {
        800: "32·5·5: 5 is the size of the kernel; the map is 10×10",
        51200: "32·40·40: pooling is forgotten; each of the two halves height and width",
        12800: "32·20·20: one pooling is forgotten",
        1568: "32·7·7 is right for pictures of 28×28, or without padding: these are 40×40, and padding 2 keeps that",
        100: "10·10: the channels are forgotten; there are 32 such maps",
        1600: "16 maps of 10×10 (or 40·40, the input): 16 enters the last convolution, 32 leaves",
        32: "height and width are forgotten: each of the 32 maps has 10×10 pixels",
        320: "32·10: height and width both count, 10·10",
    },
    praise="32 maps of 10×10 pixels: the 5 of the kernel does not appear in it.",
    hints=[
        "Follow the size of the maps: 40 → ? → ? → ? → ?",
        "A 5×5 kernel with padding 2 keeps the size; a pooling of 2 halves it.",
        "Features = channels · height · width of what the last pooling gives.",
    ],
    tolerance=1e-9,
)

# --------------------------------------------------------------------------------------------------- a shift as kernel

ROW_MOVES, COLUMN_MOVES = ("down", "", "up"), ("to the right", "", "to the left")


def judge_shift(answer: object) -> str | None:
    """Judge a kernel by where its only 1 stands: the output pixel is a copy of the pixel under it."""
    if untouched(answer):
        raise NotAttempted
    kernel = as_tensor(answer)
    if not isinstance(kernel, Tensor):
        return f"expected a tensor of shape (3, 3), got {describe(answer)}"
    if tuple(kernel.shape) not in ((3, 3), (1, 1, 3, 3)):
        return f"expected a kernel of shape (3, 3), got {tuple(kernel.shape)}"
    kernel = kernel.detach().double().reshape(3, 3)
    if not kernel.any():
        return "every weight is 0, so the picture turns black: one weight must be 1"
    if len(kernel.nonzero()) > 1:
        return f"{len(kernel.nonzero())} weights are not 0, so several copies are added up: one weight alone moves it"
    if not torch.isclose(kernel.sum(), torch.tensor(1.0).double()):
        return f"the only weight is {kernel.sum():g}, which changes the brightness: it must be 1"
    row, column = kernel.nonzero()[0].tolist()
    if (row, column) == (1, 0):
        return None
    if (row, column) == (1, 1):
        return "the 1 in the center copies each pixel to its own place: nothing moves"
    moves = " and ".join(filter(None, (ROW_MOVES[row], COLUMN_MOVES[column])))
    return (
        f"this moves the picture {moves}: torch slides the kernel unflipped, so each output pixel is a copy of the "
        "input pixel under the 1. On which side of it must that pixel lie?"
    )


shift_kernel = Exercise(
    judge_shift,
    praise="Each pixel copies its left neighbor, so the picture moves to the right.",
    hints=(
        "One weight is 1, the others are 0: then each output pixel is a copy of one input pixel.",
        "If the picture moves to the right, where does the pixel come from that is now in the center?",
    ),
)

# ------------------------------------------------------------------------------------------------------ spot the bugs

spot_padding = choice_exercise(
    "b",
    {
        "a": "count again: 2 + 0 columns more are as many as 1 + 1, so the shape is right; look at where they are put",
        "c": "F.pad fills with zeros unless told otherwise, as Conv2d does: look at the four numbers",
        "d": "a right shape is not yet a right result: compare the two outputs pixel by pixel",
    },
    praise="F.pad counts left, right, top, bottom: all the padding came before, so the output is shifted by one.",
    hints=[
        "In which order does F.pad take its four numbers?",
        "Where does the first window lie in the picture, with (2, 0, 2, 0) and with (1, 1, 1, 1)?",
    ],
)

spot_ceil = choice_exercise(
    "c",
    {
        "a": "the convolution gave the 7×7 map that was meant: the size goes wrong after it",
        "b": "7×7 is the map before the pooling, which comes before Linear: what does the pooling make of it?",
        "d": "the batch axis is there: the error names the number of features, so look at the maps' height and width",
    },
    praise="ceil_mode rounds 3.5 up: a fourth window begins in the last row, and 32·4·4 features arrive.",
    hints=[
        "How many 2×2 windows fit whole into 7 pixels, and what happens with the pixel left over?",
        "Divide the number of features that the error names by 32: which map is that?",
    ],
)

EXERCISES = {
    "output_size": output_size,
    "conv2d": conv2d,
    "same_padding": same_padding,
    "max_pool": max_pool,
    "receptive_field": receptive_field,
    "dense_features": dense_features,
    "shift_kernel": shift_kernel,
    "spot_padding": spot_padding,
    "spot_ceil": spot_ceil,
}
