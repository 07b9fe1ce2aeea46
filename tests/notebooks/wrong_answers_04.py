"""Chapter 04: what students write instead, and a piece of the message that must name the mistake."""

# What a student's cell may use, whatever the notebook imports.
IMPORTS = (
    "import copy\nimport math\nimport numpy as np\nimport torch\nfrom torch import nn\n"
    "from torch.nn import functional as F\n"
)

SIZE = "def output_size(size, kernel_size, stride, padding, dilation):\n"
SAME = "def same_padding(kernel_size, dilation):\n"
FIELD = "def field_width(layers):\n"
CONV = "def conv2d(images, weight, bias, stride, padding):\n"
POOL = "def max_pool(maps, kernel_size, stride, padding):\n"

CONV_LOOPS = (
    CONV
    + """    B, C, H, W = images.shape
    N, C, K, L = weight.shape
    padded = torch.zeros(B, C, H + 2 * padding, W + 2 * padding)
    padded[:, :, padding : padding + H, padding : padding + W] = images
    OH, OW = (H + 2 * padding - K) // stride + 1, (W + 2 * padding - L) // stride + 1
    out = torch.zeros(B, N, OH, OW)
    for n in range(N):
        for i in range(OH):
            for j in range(OW):
                window = padded[:, :, i * stride : i * stride + K, j * stride : j * stride + L]
                out[:, n, i, j] = (window * weight[n]).sum(dim=(1, 2, 3)) + bias[n]
    return out"""
)

POOL_LOOPS = (
    POOL
    + """    B, C, H, W = maps.shape
    K, P = kernel_size, padding
    padded = torch.full((B, C, H + 2 * P, W + 2 * P), -torch.inf)
    padded[:, :, P : P + H, P : P + W] = maps
    OH, OW = (H + 2 * P - K) // stride + 1, (W + 2 * P - K) // stride + 1
    out = torch.zeros(B, C, OH, OW)
    for i in range(OH):
        for j in range(OW):
            window = padded[:, :, i * stride : i * stride + K, j * stride : j * stride + K]
            out[:, :, i, j] = window.amax(dim=(2, 3))
    return out"""
)

CONV_NUMPY = (
    CONV
    + """    sides = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(images.numpy(), sides).astype(np.float64)
    K, L = weight.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (K, L), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("bchwkl,nckl->bnhw", windows, weight.numpy()) + bias.numpy()[:, None, None]"""
)

KERNEL = "shift_kernel = torch.zeros(3, 3)\n"


def changed(source: str, *changes: tuple[str, str]) -> str:
    """Return a right answer with slips in it. Raises ValueError where there is nothing to change."""
    for old, new in changes:
        if old not in source:
            raise ValueError(f"{old!r} is not in the answer")
        source = source.replace(old, new)
    return source


WRONG = {
    "04/output_size": [
        (SIZE + "    return (size + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1", "whole number"),
        (SIZE + "    return (size + padding - dilation * (kernel_size - 1) - 1) // stride + 1", "both sides"),
        (SIZE + "    return (size - dilation * (kernel_size - 1) - 1) // stride + 1", "padding is missing"),
        (SIZE + "    return (size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride", "count the first"),
        (SIZE + "    return (size + 2 * padding - kernel_size) // stride + 1", "K alone is not enough"),
        (SIZE + "    return (size + 2 * padding - dilation * kernel_size) // stride + 1", "D·K is too much"),
        (SIZE + "    return (size + 2 * padding - dilation * (kernel_size - 1)) // stride + 1", "one too few"),
        (SIZE + "    return round((size + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1)", "nearest"),
        (SIZE + "    return -(-(size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride) + 1", "rounds up"),
        (SIZE + "    return size + 2 * padding - dilation * (kernel_size - 1)", "stride is missing"),
        (SIZE + "    return size // stride", "expected 14, got 13"),
        (SIZE + "    (size + 2 * padding - kernel_size) // stride + 1", "is the return missing"),
    ],
    "04/conv2d": [
        (changed(CONV_LOOPS, ("weight[n])", "weight[n].flip(1, 2))")), "mathematical convolution"),
        (changed(CONV_LOOPS, ("H + 2 * padding", "H + padding"), ("W + 2 * padding", "W + padding")), "one side only"),
        (changed(CONV_LOOPS, ("2 * padding", "padding"), ("[:, :, padding : padding + H, padding : padding + W]",
                                                          "[:, :, :H, :W]")), "one side only"),
        (changed(CONV_LOOPS, ("2 * padding", "0"), (":, padding : padding + H, padding : padding + W", ":")),
         "padding is missing"),
        (changed(CONV_LOOPS, ("W + 2 * padding", "W"), ("+ H, padding : padding + W]", "+ H]")), "rows are padded,"),
        (changed(CONV_LOOPS, ("H + 2 * padding", "H"), ("padding : padding + H, ", ":, ")), "columns are padded, rows"),
        (changed(CONV_LOOPS, (" // stride + 1", " // stride")), "the last position is missing"),
        (changed(CONV_LOOPS, ("- K) // stride + 1", "- K) // stride")), "in the rows the last position"),
        (changed(CONV_LOOPS, ("- L) // stride + 1", "- L) // stride")), "in the columns the last position"),
        (changed(CONV_LOOPS, ("padding, W + 2 * padding)", "padding + stride, W + 2 * padding + stride)"),
                 ("- K) //", "- K + stride - 1) //"), ("- L) //", "- L + stride - 1) //")), "one position too many"),
        (changed(CONV_LOOPS, ("- K) // stride", "- K + stride - 1) // stride"),
                 (" // stride + 1", " // stride"), ("- L) //", "- L + stride - 1) //")),
         "the last position is missing"),
        (changed(CONV_LOOPS, ("window * weight[n]).sum(dim=(1, 2, 3)", "window[:, 0] * weight[n, 0]).sum(dim=(1, 2)")),
         "only channel 0"),
        (changed(CONV_LOOPS, ("sum(dim=(1, 2, 3))", "sum(dim=(2, 3)).mean(dim=1)")), "mean over the input channels"),
        (changed(CONV_LOOPS, (".sum(dim=(1, 2, 3)) + bias[n]", " + bias[n]).sum(dim=(1, 2, 3))"),
                 ("(window * weight[n])", "(window * weight[n]")), "added to each product"),
        (changed(CONV_LOOPS, (".sum(dim=(1, 2, 3)) + bias[n]", ".sum(dim=(2, 3)) + bias[n]).sum(dim=1)"),
                 ("(window * weight[n])", "((window * weight[n])")), "for each input channel"),
        (changed(CONV_LOOPS, (".sum(dim=(1, 2, 3)) + bias[n]", ".sum(dim=1) + bias[n]).sum(dim=(1, 2))"),
                 ("(window * weight[n])", "((window * weight[n])")), "for each pixel of the window"),
        (changed(CONV_LOOPS, (" + bias[n]", "")), "bias is missing"),
        (changed(CONV_LOOPS, ("j * stride", "j"), ("- L) // stride", "- L)")), "only the rows step"),
        (changed(CONV_LOOPS, ("i * stride", "i"), ("- K) // stride", "- K)")), "only the columns step"),
        (changed(CONV_LOOPS, ("i * stride", "i"), ("- K) // stride", "- K)"),
                 ("j * stride", "j"), ("- L) // stride", "- L)")), "stride is missing"),
        (changed(CONV_LOOPS, ("return out", "return out[0]")), "batch axis is lost"),
        (changed(CONV_LOOPS, ("return out", "return out[:1]")), "only the first image"),
        (changed(CONV_LOOPS, ("return out", "return out[-1]")), "only the last image"),
        (changed(CONV_LOOPS, ("(B, N, OH, OW)", "(B, N, OW, OH)"), ("n, i, j]", "n, j, i]")), "are swapped in the out"),
        (changed(CONV_LOOPS, ("(B, N, OH, OW)", "(N, B, OH, OW)"), ("[:, n, i, j]", "[n, :, i, j]")), "(B, N, H, W)"),
        (changed(CONV_LOOPS, ("(B, N, OH, OW)", "(B, N, OH + 1, OW)")), "expected a float32 tensor of shape"),
        (changed(CONV_LOOPS, ("+ bias[n]", "+ bias")), "raised RuntimeError"),
        (CONV + "    out = F.conv2d(images, weight, bias, stride, padding)", "is the return missing"),
        ("conv2d = 3", "expected a function"),
    ],
    "04/same_padding": [
        (SAME + "    return kernel_size // 2", "D·(K − 1)/2"),
        (SAME + "    return (kernel_size - 1) // 2", "D·(K − 1)/2"),
        (SAME + "    return kernel_size // 2 if kernel_size % 2 else None", "D·(K − 1)/2"),
        (SAME + "    return kernel_size - 1", "both sides together"),
        (SAME + "    return dilation * (kernel_size - 1)", "both sides together"),
        (SAME + "    return dilation * (kernel_size - 1) // 2", "no equal padding exists"),
        (SAME + "    return dilation * (kernel_size - 1) if kernel_size % 2 else None", "both sides together"),
        (SAME + "    return dilation * (kernel_size // 2)", "no equal padding exists"),
        (SAME + "    return dilation * (kernel_size - 1) / 2", "half a pixel"),
        (SAME + "    return dilation * (kernel_size - 1) // 2 if kernel_size % 2 else None", "not every even kernel"),
        (SAME + "    padding = dilation * (kernel_size - 1) // 2", "for every kernel"),
        (SAME + "    return 1", "expected 2, got 1"),
    ],
    "04/max_pool": [
        (changed(POOL_LOOPS, ("torch.full((B, C, H + 2 * P, W + 2 * P), -torch.inf)",
                              "torch.zeros(B, C, H + 2 * P, W + 2 * P)")), "pad with −∞"),
        (changed(POOL_LOOPS, ("i * stride", "i * K"), ("j * stride", "j * K"), ("// stride", "// K")),
         "need not be the kernel's size"),
        (changed(POOL_LOOPS, ("i * stride", "i"), ("j * stride", "j"), (" // stride", "")), "windows begin S pixels"),
        (POOL + "    return F.avg_pool2d(maps, kernel_size, stride, padding)", "mean of each window"),
        (changed(POOL_LOOPS, ("amax", "amin"), ("-torch.inf", "torch.inf")), "take the largest"),
        (POOL + "    return F.max_pool2d(maps, kernel_size, stride)", "padding is missing"),
        (POOL + "    return F.max_pool2d(maps, kernel_size, stride, padding, ceil_mode=True)", "too many"),
        (changed(POOL_LOOPS, (" // stride + 1", " // stride")), "the last position is missing"),
        (changed(POOL_LOOPS, ("range(OH)", "range(0, H + 2 * P - K, stride)"), ("i * stride", "i"),
                 ("range(OW)", "range(0, W + 2 * P - K, stride)"), ("j * stride", "j"),
                 ("i, j]", "i // stride, j // stride]"),
                 ("return out", "return out[:, :, : i // stride + 1, : j // stride + 1]")), "last position is missing"),
        (changed(POOL_LOOPS, ("(B, C, OH, OW)", "(B, C, OW, OH)"), ("i, j]", "j, i]")), "are swapped in the output"),
        (changed(POOL_LOOPS, ("2 * P", "P"), ("P : P + H, P : P + W", ":H, :W")), "one side only"),
        (changed(POOL_LOOPS, ("2 * P", "P")), "one side only"),
        (changed(POOL_LOOPS, ("amax(dim=(2, 3))", "amax(dim=(1, 2, 3))[:, None]")), "expected a float32 tensor"),
        (changed(POOL_LOOPS, ("return out", "return out.amax(dim=1)")), "each map is pooled alone"),
    ],
    "04/receptive_field": [
        (FIELD + "    return sum(k for k, s in layers)", "kernel sizes are added"),
        (FIELD + "    return 1 + sum(k - 1 for k, s in layers)", "strides are ignored"),
        (FIELD + "    field, jump = 1, 1\n    for k, s in layers:\n        jump *= s\n        field += (k - 1) * jump\n"
         "    return field", "after the layer"),
        (FIELD + "    field, jump = 1, 1\n    for k, s in layers:\n        if s == 1:\n"
         "            field += (k - 1) * jump\n    return field", "poolings are left out"),
        (FIELD + "    field, jump = 1, 1\n    for k, s in layers:\n        if k == s:\n            continue\n"
         "        field += (k - 1) * jump\n        jump *= s\n    return field", "poolings are left out"),
        (FIELD + "    field, jump = 0, 1\n    for k, s in layers:\n        field += (k - 1) * jump\n        jump *= s\n"
         "    return field", "start at 1"),
        (FIELD + "    field = 1\n    for k, s in layers:\n        field = (field - 1) * s + k\n    return field",
         "from the last layer back"),
        (FIELD + "    return math.prod(s for k, s in layers)", "product of the strides"),
        (FIELD + "    field, jump = 1, 1\n    for k, s in layers:\n        field += k * jump\n        jump *= s\n"
         "    return field", "expected 16, got"),
    ],
    "04/dense_features": [
        ("dense_features = 32 * 5 * 5", "the map is 10×10"),
        ("dense_features = 32 * 40 * 40", "pooling is forgotten"),
        ("dense_features = 32 * 20 * 20", "one pooling"),
        ("dense_features = 32 * 7 * 7", "these are 40×40"),
        ("dense_features = 10 * 10", "channels are forgotten"),
        ("dense_features = 16 * 10 * 10", "32 leaves"),
        ("dense_features = 32", "height and width"),
        ("dense_features = (32, 10, 10)", "expected a number"),
        ("dense_features = 3199", "is not it"),
    ],
    "04/shift_kernel": [
        (KERNEL + "shift_kernel[1, 2] = 1", "to the left"),
        (KERNEL + "shift_kernel[0, 1] = 1", "moves the picture down"),
        (KERNEL + "shift_kernel[2, 1] = 1", "moves the picture up"),
        (KERNEL + "shift_kernel[0, 2] = 1", "down and to the left"),
        (KERNEL + "shift_kernel[1, 1] = 1", "nothing moves"),
        (KERNEL + "shift_kernel[1, 0] = 2", "changes the brightness"),
        (KERNEL + "shift_kernel[1] = 1", "several copies"),
        (KERNEL, "turns black"),
        ("shift_kernel = [1, 0, 0]", "expected a kernel of shape (3, 3)"),
        ("shift_kernel = 'left'", "expected a tensor"),
        ("shift_kernel = [[0, 0], [1, 0, 0]]", "expected a tensor"),
        ("shift_kernel = None", "expected a tensor"),
    ],
    "04/spot_padding": [
        ('spot_padding = "a"', "the shape is right"),
        ('spot_padding = "c"', "F.pad fills with zeros"),
        ('spot_padding = "d"', "not yet a right result"),
    ],
    "04/spot_ceil": [
        ('spot_ceil = "a"', "goes wrong after it"),
        ('spot_ceil = "b"', "before the pooling"),
        ('spot_ceil = "d"', "the batch axis is there"),
    ],
}  # fmt: skip

RIGHT = [
    ("04/output_size", SIZE + "    padded = size + 2 * padding\n"
     "    wide = dilation * (kernel_size - 1) + 1\n    return math.floor((padded - wide) / stride + 1)"),
    ("04/output_size", SIZE + "    padded = size + 2 * padding\n    wide = dilation * (kernel_size - 1) + 1\n"
     "    return len(range(0, padded - wide + 1, stride))"),
    ("04/conv2d", CONV_LOOPS),
    ("04/conv2d", CONV_NUMPY),
    ("04/conv2d", changed(CONV_NUMPY, ("return ", "out = ")) + "\n    return out.tolist()"),
    ("04/conv2d", CONV + "    return F.conv2d(images.double(), weight.double(), bias.double(), stride, padding)"),
    ("04/conv2d", CONV + "    columns = F.unfold(images, weight.shape[2:], padding=padding, stride=stride)\n"
     "    out = weight.flatten(1) @ columns + bias[:, None]\n"
     "    rows = (images.shape[2] + 2 * padding - weight.shape[2]) // stride + 1\n"
     "    return out.unflatten(2, (rows, -1))"),
    ("04/same_padding", SAME + "    lost = dilation * (kernel_size - 1)\n    if lost % 2 == 0:\n"
     "        return lost // 2"),
    ("04/same_padding", SAME + "    halves, rest = divmod(dilation * (kernel_size - 1), 2)\n"
     "    return None if rest else np.int64(halves)"),
    ("04/max_pool", POOL_LOOPS),
    ("04/max_pool", changed(POOL_LOOPS, ("return out", "return out.numpy().astype(float)"))),
    ("04/max_pool", POOL + "    padded = F.pad(maps, (padding,) * 4, value=-1e9)\n"
     "    windows = padded.unfold(2, kernel_size, stride).unfold(3, kernel_size, stride)\n"
     "    return windows.flatten(4).max(dim=4).values"),
    ("04/receptive_field", FIELD + "    field = 1\n    for k, s in reversed(layers):\n"
     "        field = (field - 1) * s + k\n    return field"),
    ("04/dense_features", "dense_features = torch.zeros(1, 32, 10, 10).flatten(1).shape[1]"),
    ("04/shift_kernel", "shift_kernel = [[0, 0, 0], [1, 0, 0], [0, 0, 0]]"),
    ("04/shift_kernel", "shift_kernel = np.eye(3)[[2, 0, 1]] * [[0], [1], [0]]"),
    ("04/shift_kernel", "shift_kernel = torch.zeros(1, 1, 3, 3, requires_grad=True)\n"
     "shift_kernel.data[..., 1, 0] = 1"),
    ("04/spot_padding", 'spot_padding = "B"'),
]  # fmt: skip

WRONG_ANSWERS = {name: [(IMPORTS + source, names) for source, names in answers] for name, answers in WRONG.items()}
OTHER_RIGHT_ANSWERS = [(name, IMPORTS + source) for name, source in RIGHT]
