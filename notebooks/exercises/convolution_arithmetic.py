"""Chapter 04's exercises: sizes, a convolution and a pooling by hand, receptive fields, two bugs."""

import torch
from torch import Tensor

from course_utils.exercises import Exercise, as_tensor, choice, describe, function, same, value, variants

# -------------------------------------------------------------------------------------------------- a shift as kernel

KERNEL = "torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 0, 0]])"
MOVES = {0: "down and to the right", 1: "down", 2: "down and to the left", 5: "to the left",  # the place of the only 1
         6: "up and to the right", 7: "up", 8: "up and to the left"}  # fmt: skip
UNFLIPPED = (
    "torch slides the kernel unflipped, so each output pixel is a copy of the input pixel under the 1. On which side "
    "of it must that pixel lie?"
)
SHIFTS = [
    ("the 1 in the center copies each pixel to its own place: nothing moves", KERNEL, "torch.eye(9)[4].view(3, 3)"),
    *(
        (f"this moves the picture {way}: {UNFLIPPED}", KERNEL, f"torch.eye(9)[{place}].view(3, 3)")
        for place, way in MOVES.items()
    ),
]


def judge_shift(answer: object) -> str | None:
    """Say what is wrong with a kernel that is none, holds no single 1, or has it in another place."""
    kernel = as_tensor(answer)
    if not isinstance(kernel, Tensor) or tuple(kernel.shape) not in ((3, 3), (1, 1, 3, 3)):
        return f"expected a kernel, a tensor of shape (3, 3), got {describe(answer)}"
    kernel = kernel.detach().float().reshape(3, 3)
    count = len(kernel.nonzero())
    if count == 0:
        return "every weight is 0, so the picture turns black: one weight must be 1"
    if count > 1:
        return f"{count} weights are not 0, so several copies are added up: one weight alone moves it"
    if not same(kernel.sum(), 1):
        return f"the only weight is {kernel.sum():g}, which changes the brightness: it must be 1"
    return next(message for message, other in variants(shift_kernel.right, SHIFTS) if same(kernel, other)) or None


shift_kernel = Exercise(
    judge_shift,
    praise="Each pixel copies its left neighbor, so the picture moves to the right.",
    right=f"shift_kernel = {KERNEL}",
    slips=SHIFTS,
)

# -------------------------------------------------------------------------------------------------------------- sizes

WIDTH, STEPS = "dilation * (kernel_size - 1) + 1", "(size + 2 * padding - width) // stride + 1"
WIDEN = "dilation widens the kernel: it reaches over D·(K − 1) + 1 pixels"
FLOOR = "the last partial step is dropped: floor"

output_size = function(
    right=f"""
def output_size(size, kernel_size, stride, padding, dilation):
    width = {WIDTH}
    return {STEPS}
""",
    # none leaves half a step, where Python's round goes up or down
    cases=[
        (28, 5, 1, 2, 1), (28, 2, 2, 0, 1), (27, 3, 2, 1, 1), (26, 4, 3, 1, 2),
        (33, 3, 3, 2, 3), (22, 5, 3, 3, 2), (30, 2, 3, 1, 3), (41, 4, 3, 2, 3),
    ],
    slips=[
        (f"a size is a whole number; {FLOOR}", "//", "/"),
        (f"this rounds up; {FLOOR}", STEPS, "math.ceil((size + 2 * padding - width) / stride) + 1"),
        (f"this rounds to the nearest; {FLOOR}", STEPS, "round((size + 2 * padding - width) / stride) + 1"),
        ("padding is on both sides: 2·P", "2 * padding", "padding"),
        ("the padding is missing: 2·P pixels more", " + 2 * padding", ""),
        ("one too few: count the first position too, +1", "// stride + 1", "// stride"),
        ("the first position is no pixel: add its 1 after the division", STEPS,
         "(size + 2 * padding - width + 1) // stride"),
        ("// comes before − and +: put brackets around what the stride divides", STEPS,
         "size + 2 * padding - width // stride + 1"),
        (f"K alone is not enough: {WIDEN}", WIDTH, "kernel_size"),
        (f"D·K is too much: {WIDEN}", WIDTH, "dilation * kernel_size"),
        (f"D·(K − 1) is one too few: {WIDEN}", WIDTH, "dilation * (kernel_size - 1)"),
        (f"K + D − 1 is right for K = 2 only: {WIDEN}", WIDTH, "kernel_size + dilation - 1"),
        ("the stride is missing: it divides the way from the first position to the last", " // stride", ""),
    ],
    praise="One formula for every convolution and every pooling: ⌊(H + 2P − D(K − 1) − 1)/S⌋ + 1.",
)  # fmt: skip

LOST, HALF = "dilation * (kernel_size - 1)", "both_sides // 2 if both_sides % 2 == 0 else None"
NO_EQUAL = "where D·(K − 1) is odd, no equal padding exists: return None"
TOGETHER = "that is both sides together: each side gets half"
USE_DILATION = "dilation is ignored: the kernel loses D·(K − 1) pixels, so use D·(K − 1)/2"


def none_in_words(same_padding, kernel_size, dilation):
    """Return what the answer gives; None, which it may give, by name."""
    padding = same_padding(kernel_size, dilation)
    return "None" if padding is None else padding


same_padding = function(
    right=f"""
def same_padding(kernel_size, dilation):
    both_sides = {LOST}
    return {HALF}
""",
    cases=[(kernel_size, dilation) for kernel_size in (3, 5, 1, 7, 2, 4, 11) for dilation in (1, 2, 3)],
    run=none_in_words,
    slips=[
        (USE_DILATION, HALF, "kernel_size // 2"),
        (USE_DILATION, HALF, "(kernel_size - 1) // 2"),
        (USE_DILATION, LOST, "kernel_size - 1"),
        (TOGETHER, HALF, "kernel_size - 1"),
        (TOGETHER, HALF, "both_sides"),
        (TOGETHER, HALF, "both_sides if kernel_size % 2 else None"),
        (TOGETHER, "both_sides // 2", "both_sides"),
        (NO_EQUAL, HALF, "both_sides // 2"),
        (NO_EQUAL, HALF, "math.ceil(both_sides / 2)"),
        (NO_EQUAL, HALF, "dilation * (kernel_size // 2)"),
        (f"half a pixel cannot be padded; {NO_EQUAL}", HALF, "both_sides / 2"),
        ("not every even kernel is hopeless: K = 2 with dilation 2 loses 2 pixels, one on each side",
         "both_sides % 2 == 0", "kernel_size % 2"),
        ("None comes back for every kernel: is a return missing?", HALF, "None"),
    ],
    praise="An odd kernel can always keep the size; an even one only where the dilation is even.",
)  # fmt: skip

dense_features = value(
    right="dense_features = 32 * 10 * 10",
    slips=[
        ("32·5·5: 5 is the size of the kernel; the map is 10×10", 32 * 5 * 5),
        ("32·40·40: pooling is forgotten; each of the two halves height and width", 32 * 40 * 40),
        ("32·20·20: one pooling is forgotten", 32 * 20 * 20),
        ("32·7·7 is right for pictures of 28×28, or without padding: these are 40×40, and padding 2 keeps that",
         32 * 7 * 7),
        ("10·10: the channels are forgotten; there are 32 such maps", 10 * 10),
        ("16 maps of 10×10 (or 40·40, the input): 16 enters the last convolution, 32 leaves", 16 * 10 * 10),
        ("height and width are forgotten: each of the 32 maps has 10×10 pixels", 32),
        ("32·10: height and width both count, 10·10", 32 * 10),
    ],
    praise="32 maps of 10×10 pixels: the 5 of the kernel does not appear in it.",
)  # fmt: skip

# ------------------------------------------------------------------------------------------------ a layer, and pooling


def conv_cases(generator: torch.Generator) -> list[tuple]:
    """Draw images, weights and biases, with stride and padding: nothing square, more channels than one."""
    cases = []
    for images, weight, stride, padding in (
        ((2, 3, 7, 10), (4, 3, 3, 3), 1, 0),
        ((3, 2, 8, 10), (2, 2, 2, 3), 2, 1),
        ((2, 3, 7, 9), (2, 3, 3, 3), 2, 2),
        ((2, 2, 8, 11), (3, 2, 3, 2), 3, 1),
    ):
        drawn = [torch.randn(shape, generator=generator) for shape in (images, weight, weight[:1])]
        cases.append((*drawn, stride, padding))
    return cases


SIDES, CORNER = "(padding,) * 4", "i * stride, j * stride"
ONE_SIDE = "padding is on both sides of an axis: this pads one side only"
LAST = "the last position is missing: there are ⌊(H + 2P − K)/S⌋ + 1 in each axis"
OVER = "a window that runs over the edge is dropped, so floor"
STEPS_BY_ONE = "the size is right, but the windows move by 1: window (i, j) begins at i · stride, j · stride"
WHOLE_BATCH = "only one image comes back: return one output for each image of the batch"
ONCE = "add it once to each map's sum"
WINDOWS = [  # what a convolution and a pooling share
    (ONE_SIDE, SIDES, "(padding, 0, padding, 0)"),
    (ONE_SIDE, SIDES, "(0, padding, 0, padding)"),
    ("the padding is missing: P rows or columns on each side", SIDES, "(0,) * 4"),
    ("the stride is missing: windows begin S pixels apart", " // stride", "", CORNER, "i, j"),
    (STEPS_BY_ONE, CORNER, "i, j"),
    (f"one position too many: {OVER}", SIDES, "(padding, padding + stride - 1) * 2"),
    (LAST, "// stride + 1", "// stride"),
    ("rows and columns are swapped in the output", "return out", "return out.transpose(2, 3)"),
]
SUM, ROWS, COLUMNS = "dim=(2, 3, 4)", "(height - rows) // stride + 1", "(width - columns) // stride + 1"

conv2d = function(
    right=f"""
def conv2d(images, weight, bias, stride, padding):
    images = F.pad(images, {SIDES})  # (B, C, H + 2P, W + 2P)
    (B, _, height, width), (N, _, rows, columns) = images.shape, weight.shape
    out = torch.empty(
        B, N, {ROWS}, {COLUMNS}
    )
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            top, left = {CORNER}
            window = images[:, :, top : top + rows, left : left + columns]
            products = window[:, None] * weight  # (B, N, C, K, L)
            out[:, :, i, j] = products.sum({SUM}) + bias  # (B, N)
    return out
""",
    cases=conv_cases,
    run=lambda conv2d, images, weight, bias, stride, padding: as_tensor(conv2d(images, weight, bias, stride, padding)),
    forbid=("conv1d", "conv2d", "conv3d", "conv_transpose2d", "convolution", "unfold", "im2col"),
    slips=[
        ("the kernel is flipped: that is mathematical convolution; torch slides the kernel as it is",
         "* weight", "* weight.flip(2, 3)"),
        *WINDOWS,
        ("all padding is left and above, 2·P: each side gets P", SIDES, "(2 * padding, 0, 2 * padding, 0)"),
        ("rows are padded, columns are not", SIDES, "(0, 0, padding, padding)"),
        ("columns are padded, rows are not", SIDES, "(padding, padding)"),
        ("only the rows step by the stride: columns do too", "columns) // stride", "columns)", "j * stride", "j"),
        ("only the columns step by the stride: rows do too", "rows) // stride", "rows)", "i * stride", "i"),
        (LAST, f"{ROWS}, {COLUMNS}", "len(range(0, height - rows, stride)), len(range(0, width - columns, stride))"),
        (f"in the rows {LAST}", "rows) // stride + 1", "rows) // stride"),
        (f"in the columns {LAST}", "columns) // stride + 1", "columns) // stride"),
        ("the output's size is that of images without padding: there are ⌊(H + 2P − K)/S⌋ + 1 positions in each axis",
         "(height - rows)", "(height - 2 * padding - rows)", "(width - columns)", "(width - 2 * padding - columns)"),
        ("only channel 0 is used: sum over all input channels", f"sum({SUM})", "sum(dim=(3, 4))[:, :, 0]"),
        ("this is the mean over the input channels: sum them", f"sum({SUM})", "mean(dim=2).sum(dim=(2, 3))"),
        ("the sum runs over the images too: each has its own output", SUM, "dim=(0, 2, 3, 4)"),
        ("the bias is missing: add it once to each map", " + bias", ""),
        (f"the bias is added for each input channel: {ONCE}", "+ bias", "+ weight.shape[1] * bias"),
        (f"the bias is added to each product: {ONCE}", "+ bias", "+ weight[0].numel() * bias"),
        (f"the bias is added for each pixel of the window: {ONCE}", "+ bias", "+ weight[0, 0].numel() * bias"),
        ("window (B, C, K, L) and weight (N, C, K, L) do not line up: window[:, None] has an axis for the maps",
         "window[:, None]", "window", SUM, "dim=(1, 2, 3)"),
        ("the batch axis is lost: return one output for each image", "return out", "return out[0]"),
        (WHOLE_BATCH, "return out", "return out[:1]"),
        (WHOLE_BATCH, "return out", "return out[-1]"),
        ("batch and maps are swapped: the order is (B, N, H, W)", "return out", "return out.transpose(0, 1)"),
    ],
    praise="Equal to F.conv2d for every size, stride and padding that was tried.",
)  # fmt: skip


def map_cases(generator: torch.Generator) -> list[tuple]:
    """Draw maps with mostly negative numbers, the last enormous, so that a padding of any number shows."""
    settings = (((7, 10), 2, 2, 0), ((8, 10), 3, 2, 1), ((7, 9), 2, 1, 0), ((8, 11), 4, 3, 2), ((8, 9), 2, 3, 1))
    cases = [(torch.randn(2, 3, *size, generator=generator) - 1.5, *setting) for size, *setting in settings]
    return [*cases, (-1e20 - 1e19 * torch.rand(2, 3, 8, 10, generator=generator), 3, 2, 1)]


CHANNELS = "each map is pooled alone: do not take the maximum over the channels"
MEAN, SMALLEST = "this is the mean of each window: take the maximum", "this is the smallest number: take the largest"
LEAST, LARGEST = 'float("-inf")', ".amax(dim=(2, 3))"
WINS = "the padding wins where all of a window is smaller than it: only −∞ never does"

max_pool = function(
    right=f"""
def max_pool(maps, kernel_size, stride, padding):
    maps = F.pad(maps, {SIDES}, value={LEAST})  # (B, C, H + 2P, W + 2P)
    height, width = ((size - kernel_size) // stride + 1 for size in maps.shape[2:])
    out = torch.empty(*maps.shape[:2], height, width)
    for i in range(height):
        for j in range(width):
            top, left = {CORNER}
            window = maps[:, :, top : top + kernel_size, left : left + kernel_size]
            out[:, :, i, j] = window{LARGEST}
    return out
""",
    cases=map_cases,
    run=lambda max_pool, maps, kernel_size, stride, padding: as_tensor(max_pool(maps, kernel_size, stride, padding)),
    forbid=("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices",
            "adaptive_max_pool2d", "fractional_max_pool2d", "unfold", "im2col"),
    slips=[
        ("negative maxima became 0 at the border: pad with −∞, not with zeros", f", value={LEAST}", ""),
        (WINS, LEAST, "-100.0"),
        (WINS, LEAST, "-1e9"),
        *WINDOWS,
        ("the stride is missing: it need not be the kernel's size",
         "// stride", "// kernel_size", CORNER, "i * kernel_size, j * kernel_size"),
        (MEAN, "amax", "mean"),
        (MEAN, LEAST, "0.0", "amax", "mean"),
        (SMALLEST, "amax", "amin"),
        (SMALLEST, LEAST, 'float("inf")', "amax", "amin"),
        (LAST, "(size - kernel_size) // stride + 1", "len(range(0, size - kernel_size, stride))"),
        (CHANNELS, "return out", "return out.amax(dim=1)"),
        (CHANNELS, LARGEST, ".amax(dim=(1, 2, 3))[:, None]"),
    ],
    praise="Equal to F.max_pool2d, also where a window holds nothing but negative numbers and padding.",
)  # fmt: skip

spot_ceil = choice(
    right='spot_ceil = "c"',
    wrong={
        "a": "the convolution gave the 7×7 map that was meant: the size goes wrong after it",
        "b": "7×7 is the map before the pooling, which comes before Linear: what does the pooling make of it?",
        "d": "the batch axis is there: the error names the number of features, so look at the maps' height and width",
    },
    praise="ceil_mode rounds 3.5 up: a fourth window begins in the last row, and 32·4·4 features arrive.",
)

# ------------------------------------------------------------------------------------------- fields, and what is left

POOLS = "poolings are left out: they widen the field and space out the units too"
GROW, STACKS = "width += (kernel_size - 1) * jump", (
    [(5, 1), (2, 2), (5, 1), (2, 2)], [(3, 1)] * 3, [(3, 2), (2, 2), (3, 1)], [(4, 1), (2, 3), (5, 2), (3, 1)],
)  # fmt: skip

receptive_field = function(
    right=f"""
def field_width(layers):
    width, jump = 1, 1
    for kernel_size, stride in layers:
        {GROW}
        jump *= stride
    return width
""",
    cases=[(stack,) for stack in STACKS],
    slips=[
        ("the kernel sizes are added: each layer adds K − 1 steps, not K pixels", GROW, "width += kernel_size",
         "= 1, 1", "= 0, 1"),
        ("a layer reaches K − 1 units further, not K: its first pixel is there already", "(kernel_size - 1)",
         "kernel_size"),
        ("the strides are ignored: after a stride of 2 the next layer's pixels lie 2 apart", "jump *= stride", "pass"),
        ("strides multiply: after two strides of 2 the next layer's pixels lie 4 apart", "jump *=", "jump ="),
        ("that uses the spacing after the layer: a layer's pixels are spaced by the strides of the layers before it",
         "- 1) * jump", "- 1) * jump * stride"),
        ("(K − 1)·S uses the layer's own stride: its pixels are spaced by the product of the strides before it",
         "- 1) * jump", "- 1) * stride"),
        (POOLS, "in layers", "in [(k, s) for k, s in layers if k != s]"),
        (POOLS, "in layers", "in [(k, s) for k, s in layers if s == 1]"),
        ("one pixel too few: without any layer a unit sees 1 pixel, so start at 1", "= 1, 1", "= 0, 1"),
        ("this is the field of the layers in reverse order: walk with width and jump from the first layer to the last "
         "(or, with a rule that needs no jump, from the last to the first)", "in layers", "in layers[::-1]"),
        ("that is how far apart neighboring units look, the product of the strides: the field is wanted",
         "return width", "return jump"),
    ],
    praise="16 for the network of section 10: the same as the poisoned pixels say.",
)  # fmt: skip

spot_padding = choice(
    right='spot_padding = "b"',
    wrong={
        "a": "count again: 2 + 0 columns more are as many as 1 + 1, so the shape is right; look at where they are put",
        "c": "F.pad fills with zeros unless told otherwise, as Conv2d does: look at the four numbers",
        "d": "a right shape is not yet a right result: compare the two outputs pixel by pixel",
    },
    praise="F.pad counts left, right, top, bottom: all the padding came before, so the output is shifted by one.",
)
