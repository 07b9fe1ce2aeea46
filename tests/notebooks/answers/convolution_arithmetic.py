"""Chapter 04: wrong answers that no slip makes, with a piece of their message, and right ones in unusual forms."""

from answers import changed

SIZE = "def output_size(size, kernel_size, stride, padding, dilation):\n"
SAME = "def same_padding(kernel_size, dilation):\n"
FIELD = "def field_width(layers):\n"
CONV = "def conv2d(images, weight, bias, stride, padding):\n"
POOL = "def max_pool(maps, kernel_size, stride, padding):\n"
KERNEL = "shift_kernel = torch.zeros(3, 3)\n"

CONV_LOOPS = f"""{CONV}    B, C, H, W = images.shape
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
PRODUCTS, BIASED = "window * weight[n]).sum(dim=(1, 2, 3)", "(window * weight[n]).sum(dim=(1, 2, 3)) + bias[n]"

CONV_NUMPY = f"""{CONV}    sides = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(images.numpy(), sides).astype(np.float64)
    K, L = weight.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (K, L), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("bchwkl,nckl->bnhw", windows, weight.numpy()) + bias.numpy()[:, None, None]"""

CONV_TAPS = f"""{CONV}    padded = F.pad(images, (padding,) * 4)
    (K, L), (H, W) = weight.shape[2:], padded.shape[2:]
    rows, columns = (H - K) // stride + 1, (W - L) // stride + 1
    out = bias[:, None, None]
    for k in range(K):
        for l in range(L):
            taken = padded[:, :, k : k + rows * stride : stride, l : l + columns * stride : stride]
            taken = taken[:, :, :rows, :columns]
            out = out + torch.einsum("bchw,nc->bnhw", taken, weight[:, :, k, l])
    return out"""

LAYER = "nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], stride=stride, padding=padding)"
LIBRARY = [  # what the library does, by the function of torch that is called first
    ("conv2d", "F.conv2d(images.double(), weight.double(), bias.double(), stride, padding)"),
    ("conv2d", "torch.conv2d(images, weight, bias, stride, padding)"),
    ("conv2d", f"torch.func.functional_call({LAYER}, dict(weight=weight, bias=bias), images)"),
    ("conv3d", "F.conv3d(images[:, :, None], weight[:, :, None], bias, (1, stride, stride))[:, :, 0]"),
    ("unfold", "nn.Unfold(weight.shape[2:], padding=padding, stride=stride)(images)"),
    ("unfold", "F.pad(images, (padding,) * 4).unfold(2, weight.shape[2], stride)"),
]

POOL_LOOPS = f"""{POOL}    B, C, H, W = maps.shape
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

WALK = FIELD + "    field, jump = 1, 1\n    for k, s in layers:\n        field += (k - 1) * jump\n        jump *= s\n"
ALL_BUT = "        if {}:\n            field += (k - 1) * jump\n            jump *= s\n"


def conv(*pairs: str) -> str:
    return changed(CONV_LOOPS, *pairs)


def pool(*pairs: str) -> str:
    return changed(POOL_LOOPS, *pairs)


WRONG = {
    "04/shift_kernel": [
        (KERNEL + "shift_kernel[1, 2] = 1", "to the left"),
        (KERNEL + "shift_kernel[0, 1] = 1", "moves the picture down:"),
        (KERNEL + "shift_kernel[2, 1] = 1", "moves the picture up:"),
        (KERNEL + "shift_kernel[0, 2] = 1", "down and to the left"),
        (KERNEL + "shift_kernel[1, 1] = 1", "nothing moves"),
        (KERNEL + "shift_kernel[1, 0] = 2", "changes the brightness"),
        (KERNEL + "shift_kernel[1] = 1", "several copies"),
        (KERNEL, "turns black"),
        ("shift_kernel = [1, 0, 0]", "a tensor of shape (3, 3), got [1, 0, 0]"),
        ("shift_kernel = 'left'", "expected a kernel"),
        ("shift_kernel = [[0, 0], [1, 0, 0]]", "expected a kernel"),
        ("shift_kernel = None", "expected a kernel"),
    ],
    "04/same_padding": [
        (SAME + "    return kernel_size // 2 if kernel_size % 2 else None", "D·(K − 1)/2"),
        (SAME + "    return -(-dilation * (kernel_size - 1) // 2)", "no equal padding exists"),
        (SAME + "    return dilation * (kernel_size - 1) / 2", "half a pixel"),
        (SAME + "    padding = dilation * (kernel_size - 1) // 2", "for every kernel"),
        (SAME + "    return 1", "expected 2, got 1"),
        (SAME + "    both = dilation * (kernel_size - 1)\n    if both % 2 == 0 and both < 8:\n        return both // 2",
         "for kernel_size = 5, dilation = 2: expected 4, got 'None'"),
    ],
    "04/output_size": [
        (SIZE + "    return (size + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1", "whole number"),
        (SIZE + "    return (size + padding - dilation * (kernel_size - 1) - 1) // stride + 1", "both sides"),
        (SIZE + "    return (size + 2 * padding - kernel_size) // stride + 1", "K alone is not enough"),
        (SIZE + "    return (size + 2 * padding - dilation * (kernel_size - 1)) // stride + 1", "one too few"),
        (SIZE + "    return (size + 2 * padding - dilation * (kernel_size - 1)) // stride", "no pixel"),
        (SIZE + "    return round((size + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1)", "nearest"),
        (SIZE + "    return -(-(size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride) + 1", "rounds up"),
        (SIZE + "    return size + 2 * padding - dilation * (kernel_size - 1)", "stride is missing"),
        (SIZE + "    return (size + padding - kernel_size) // stride + 1", "both sides: 2·P; and K alone"),
        (SIZE + "    return size // stride", "for size = 27, kernel_size = 3, stride = 2, padding = 1, dilation = 1: "
         "expected 14, got 13"),
        (SIZE + "    (size + 2 * padding - kernel_size) // stride + 1", "is the return missing"),
    ],
    "04/conv2d": [
        (conv("weight[n])", "weight[n].flip(1, 2))"), "mathematical convolution"),
        (conv("H + 2 * padding", "H + padding", "W + 2 * padding", "W + padding"), "one side only"),
        (conv("2 * padding", "padding", "[:, :, padding : padding + H, padding : padding + W]", "[:, :, :H, :W]"),
         "one side only"),
        (conv("2 * padding", "0", ":, padding : padding + H, padding : padding + W", ":"), "padding is missing"),
        (conv("W + 2 * padding", "W", "+ H, padding : padding + W]", "+ H]"), "rows are padded,"),
        (conv("H + 2 * padding", "H", "padding : padding + H, ", ":, "), "columns are padded, rows"),
        (conv(" // stride + 1", " // stride"), "the last position is missing"),
        (conv("- K) // stride + 1", "- K) // stride"), "in the rows the last position"),
        (conv("- L) // stride + 1", "- L) // stride"), "in the columns the last position"),
        (conv("padding, W + 2 * padding)", "padding + stride, W + 2 * padding + stride)", "- K) //",
              "- K + stride - 1) //", "- L) //", "- L + stride - 1) //"), "one position too many"),
        (conv("- K) // stride", "- K + stride - 1) // stride", " // stride + 1", " // stride", "- L) //",
              "- L + stride - 1) //"), "the last position is missing"),
        (conv(PRODUCTS, "window[:, 0] * weight[n, 0]).sum(dim=(1, 2)"), "only channel 0"),
        (conv("sum(dim=(1, 2, 3))", "sum(dim=(2, 3)).mean(dim=1)"), "mean over the input channels"),
        (conv("sum(dim=(1, 2, 3))", "sum()"), "over the images too"),
        (conv(BIASED, "(window * weight[n] + bias[n]).sum(dim=(1, 2, 3))"), "added to each product"),
        (conv(BIASED, "((window * weight[n]).sum(dim=(2, 3)) + bias[n]).sum(dim=1)"), "for each input channel"),
        (conv(BIASED, "((window * weight[n]).sum(dim=1) + bias[n]).sum(dim=(1, 2))"), "for each pixel of the window"),
        (conv(" + bias[n]", ""), "bias is missing"),
        (conv("j * stride", "j", "- L) // stride", "- L)"), "only the rows step"),
        (conv("i * stride", "i", "- K) // stride", "- K)"), "only the columns step"),
        (conv("i * stride", "i", "- K) // stride", "- K)", "j * stride", "j", "- L) // stride", "- L)"),
         "stride is missing"),
        (conv("H + 2 * padding - K", "H - K", "W + 2 * padding - L", "W - L"), "images without padding"),
        (conv("return out", "return out[0]"), "batch axis is lost"),
        (conv("(B, N, OH, OW)", "(B, N, OW, OH)", "n, i, j]", "n, j, i]"), "are swapped in the out"),
        (conv("(B, N, OH, OW)", "(N, B, OH, OW)", "[:, n, i, j]", "[n, :, i, j]"), "(B, N, H, W)"),
        (conv("(B, N, OH, OW)", "(B, N, OH + 1, OW)"), "expected float32 (2, 4, 5, 8), got float32 (2, 4, 6, 8)"),
        (conv("\n    return out", "\n                return out"), "(2, 4, 5, 8) is right; at [0, 0, 0, 1] expected"),
        (conv("+ bias[n]", "+ bias"), "raised RuntimeError"),
        (CONV + "    out = images.sum()", "is the return missing"),
        (conv("for n in range(N):\n        ", "", "        for j", "    for j", "weight[n]", "weight", "[:, n, i",
              "[:, :, i", "+ bias[n]", "+ bias"), "window[:, None] has an axis for the maps"),
        *[(CONV + f"    return {call}", f"{name} does this exercise's work") for name, call in LIBRARY],
        ("conv2d = 3", "expected a function"),
    ],
    "04/max_pool": [
        (pool("torch.full((B, C, H + 2 * P, W + 2 * P), -torch.inf)", "torch.zeros(B, C, H + 2 * P, W + 2 * P)"),
         "pad with −∞"),
        (pool("i * stride", "i * K", "j * stride", "j * K", "// stride", "// K"), "need not be the kernel's size"),
        (pool("i * stride", "i", "j * stride", "j", " // stride", ""), "windows begin S pixels"),
        (POOL + "    return F.avg_pool2d(maps, kernel_size, stride, padding)", "mean of each window"),
        (pool("amax", "amin", "-torch.inf", "torch.inf"), "take the largest"),
        (pool("P : P + H, P : P + W", ":, :", "H + 2 * P", "H", "W + 2 * P", "W"), "padding is missing"),
        (pool(" - K) // stride", " - K + stride - 1) // stride"), "too many"),
        (POOL + "    return nn.MaxPool2d(kernel_size, stride, padding)(maps)", "max_pool2d does this exercise's work"),
        (pool(" // stride + 1", " // stride"), "the last position is missing"),
        (pool("range(OH)", "range(0, H + 2 * P - K, stride)", "i * stride", "i", "range(OW)",
              "range(0, W + 2 * P - K, stride)", "j * stride", "j", "i, j]", "i // stride, j // stride]",
              "return out", "return out[:, :, : i // stride + 1, : j // stride + 1]"), "last position is missing"),
        (pool("(B, C, OH, OW)", "(B, C, OW, OH)", "i, j]", "j, i]"), "are swapped in the output"),
        (pool("2 * P", "P", "P : P + H, P : P + W", ":H, :W"), "one side only"),
        (pool("2 * P", "P"), "one side only"),
        (pool("amax(dim=(2, 3))", "amax(dim=(1, 2, 3))[:, None]"), "each map is pooled alone"),
        (pool("amax(dim=(2, 3))", "flatten(2).median(dim=2).values"), "the numbers differ"),
        (pool("-torch.inf", "-100.0"), "only −∞ never does"),
        (pool("-torch.inf", "-1e9"), "only −∞ never does"),
        (POOL + "    return F.max_pool2d(maps, kernel_size, stride, padding)", "max_pool2d does this exercise's work"),
        (POOL + "    return F.max_pool2d(maps, kernel_size, stride, padding, return_indices=True)[0]",
         "max_pool2d_with_indices does this exercise's work"),
        (POOL + "    maps = F.pad(maps, (padding,) * 4, value=-torch.inf)[:, :, None]\n"
         "    return F.max_pool3d(maps, (1, kernel_size, kernel_size), (1, stride, stride))[:, :, 0]",
         "max_pool3d does this exercise's work"),
        (POOL + "    padded = F.pad(maps, (padding,) * 4, value=-torch.inf)\n"
         "    windows = padded.unfold(2, kernel_size, stride).unfold(3, kernel_size, stride)\n"
         "    return windows.flatten(4).max(dim=4).values", "unfold does this exercise's work"),
    ],
    "04/spot_ceil": [('spot_ceil = "ac"', "expected one of a, b, c, d")],
    "04/receptive_field": [
        (FIELD + "    return sum(k for k, s in layers)", "kernel sizes are added"),
        (FIELD + "    return 1 + sum(k - 1 for k, s in layers)", "strides are ignored"),
        (changed(WALK, "field += (k - 1) * jump\n        jump *= s", "jump *= s\n        field += (k - 1) * jump")
         + "    return field", "after the layer"),
        (changed(WALK, "        field += (k - 1) * jump\n        jump *= s\n", ALL_BUT.format("s == 1"))
         + "    return field", "poolings are left out"),
        (changed(WALK, "        field += (k - 1) * jump\n        jump *= s\n", ALL_BUT.format("k != s"))
         + "    return field", "poolings are left out"),
        (changed(WALK, "in layers", "in layers[::-1]") + "    return field", "first layer to the last"),
        (FIELD + "    field = 1\n    for k, s in layers:\n        field = (field - 1) * s + k\n    return field",
         "from the last to the first"),
        (FIELD + "    return math.prod(s for k, s in layers)", "product of the strides"),
        (FIELD + "    return 2 * len(layers) + 1", "expected 16, got 9"),
    ],
    "04/dense_features": [
        ("dense_features = (32, 10, 10)", "expected a number"),
        ("dense_features = 3199", "is not it"),
    ],
    "04/spot_padding": [('spot_padding = ""', "expected one of")],
}  # fmt: skip

RIGHT = [
    ("04/shift_kernel", "shift_kernel = [[0, 0, 0], [1, 0, 0], [0, 0, 0]]"),
    ("04/shift_kernel", "shift_kernel = np.eye(3)[[2, 0, 1]] * [[0], [1], [0]]"),
    ("04/shift_kernel", "shift_kernel = torch.zeros(1, 1, 3, 3, requires_grad=True)\n"
     "shift_kernel.data[..., 1, 0] = 1"),
    ("04/same_padding", SAME + "    lost = dilation * (kernel_size - 1)\n    if lost % 2 == 0:\n"
     "        return lost // 2"),
    ("04/same_padding", SAME + "    halves, rest = divmod(dilation * (kernel_size - 1), 2)\n"
     "    return None if rest else np.int64(halves)"),
    ("04/output_size", SIZE + "    padded = size + 2 * padding\n"
     "    wide = dilation * (kernel_size - 1) + 1\n    return math.floor((padded - wide) / stride + 1)"),
    ("04/output_size", SIZE + "    padded = size + 2 * padding\n    wide = dilation * (kernel_size - 1) + 1\n"
     "    return len(range(0, padded - wide + 1, stride))"),
    ("04/conv2d", CONV_LOOPS),
    ("04/conv2d", CONV_NUMPY),
    ("04/conv2d", changed(CONV_NUMPY, "return ", "out = ") + "\n    return out.tolist()"),
    ("04/conv2d", CONV_TAPS),
    ("04/max_pool", POOL_LOOPS),
    ("04/max_pool", changed(POOL_LOOPS, "return out", "return out.numpy().astype(float)")),
    ("04/max_pool", pool("-torch.inf", "torch.finfo(maps.dtype).min")),
    ("04/max_pool", pool("[:, :, i * stride : i * stride + K, j * stride : j * stride + K]",
                         "[:, :, i * stride :, j * stride :][:, :, :K, :K]", "amax(dim=(2, 3))",
                         "flatten(2).max(dim=2).values")),
    ("04/spot_ceil", 'spot_ceil = " C"'),
    ("04/receptive_field", WALK + "    return torch.tensor(field)"),
    ("04/receptive_field", FIELD + "    field = 1\n    for k, s in reversed(layers):\n"
     "        field = (field - 1) * s + k\n    return field"),
    ("04/dense_features", "dense_features = torch.zeros(1, 32, 10, 10).flatten(1).shape[1]"),
    ("04/spot_padding", 'spot_padding = "B"'),
]  # fmt: skip
