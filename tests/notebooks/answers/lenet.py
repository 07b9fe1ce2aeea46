"""Chapter 05: wrong answers that no slip makes, with a piece of their message, and right ones in unusual forms."""

from answers import changed

TABLE = """shape_table = {
    "C1": (6, 28, 28), "S2": (6, 14, 14), "C3": (16, 10, 10), "S4": (16, 5, 5),
    "C5": (120, 1, 1), "F6": (84,), "out": (10,),
}"""
LENET = """def make_lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(),
        nn.Flatten(), nn.Linear(120, 84), nn.Tanh(),
        nn.Linear(84, 10),
    )"""
LENET_CLASS = """class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.out, self.f6, self.c5 = nn.Linear(84, 10), nn.Linear(120, 84), nn.Linear(400, 120)
        self.c3, self.c1 = nn.Conv2d(6, 16, 5), nn.Conv2d(1, 6, 5, padding="same")

    def forward(self, x):
        x = F.avg_pool2d(torch.tanh(self.c1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.c3(x)), 2)
        x = torch.tanh(self.c5(x.flatten(1)))
        return self.out(torch.tanh(self.f6(x)))

def make_lenet():
    return LeNet()"""

MAX_POOLING = """def with_max_pooling(model):
    new = copy.deepcopy(model)
    for block in list(new.modules()):
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.AvgPool2d):
                setattr(block, name, nn.MaxPool2d(layer.kernel_size, layer.stride))
    return new"""
FLAT_LOOP = """def with_max_pooling(model):
    new = copy.deepcopy(model)
    for k, layer in enumerate(new):
        if isinstance(layer, nn.AvgPool2d):
            new[k] = nn.MaxPool2d(layer.kernel_size, layer.stride)
    return new"""
SHARED = """def with_max_pooling(model):
    if isinstance(model, nn.AvgPool2d):
        return nn.MaxPool2d(model.kernel_size, model.stride)
    return nn.Sequential(*map(with_max_pooling, model)) if isinstance(model, nn.Sequential) else model"""

ACCURACY = """def accuracy(model, batches):
    was_training = model.training
    model.eval()
    right = total = 0
    with torch.no_grad():
        for images, labels in batches:
            right += (model(images).argmax(dim=1) == labels).sum().item()
            total += len(labels)
    model.train(was_training)
    return right / total"""
MODE_BY_MODE = """def accuracy(model, batches):
    modes = [module.training for module in model.modules()]
    right, total = 0, 0
    for images, labels in batches:
        with torch.no_grad():
            answers = model.eval()(images).max(dim=1).indices
        right, total = right + (answers == labels).sum().item(), total + len(images)
    for module, mode in zip(model.modules(), modes):
        module.training = mode
    return right / total"""
ON_A_COPY = """def accuracy(model, batches):
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        right = [model(images).argmax(dim=1) == labels for images, labels in batches]
    return torch.cat(right).float().mean()"""
JOINED = """def accuracy(model, batches):
    modes = [m.training for m in model.modules()]
    model.eval()
    images, labels = (torch.cat(parts) for parts in zip(*batches))
    with torch.no_grad():
        share = (model(images).argmax(dim=1) == labels).float().mean().item()
    for module, mode in zip(model.modules(), modes):
        module.training = mode
    return share"""

PREPARE = """def prepare(canvas):
    if canvas.max() == 0:
        return torch.zeros(28, 28)
    rows = canvas.amax(dim=1).nonzero().flatten()
    columns = canvas.amax(dim=0).nonzero().flatten()
    crop = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = 20 / max(crop.shape)
    height, width = (max(1, round(side * factor)) for side in crop.shape)
    small = F.interpolate(crop[None, None], size=(height, width), mode="area")[0, 0]
    row = (torch.arange(float(height)) @ small.sum(dim=1) / small.sum()).item()
    column = (torch.arange(float(width)) @ small.sum(dim=0) / small.sum()).item()
    top, left = round(14 - row), round(14 - column)
    top, left = min(max(top, 0), 28 - height), min(max(left, 0), 28 - width)
    picture = torch.zeros(28, 28)
    picture[top : top + height, left : left + width] = small
    return picture"""
PREPARE_NUMPY = """from PIL import Image

def prepare(canvas):
    pixels = np.asarray(canvas)
    if not pixels.any():
        return np.zeros((28, 28))
    rows, columns = np.nonzero(pixels)
    crop = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = 20 / max(crop.shape)
    size = [max(1, round(scale * side)) for side in crop.shape[::-1]]
    small = np.asarray(Image.fromarray((255 * crop).astype("uint8")).resize(size, Image.Resampling.LANCZOS)) / 255
    picture = np.zeros((28, 28))
    picture[: small.shape[0], : small.shape[1]] = small
    grid = np.indices((28, 28))
    shift = np.rint(14 - (grid * picture).sum(axis=(1, 2)) / picture.sum()).astype(int)
    shift = shift.clip(0, 28 - np.array(small.shape))
    return np.roll(picture, shift, axis=(0, 1))"""
PREPARE_SMOOTH = """def prepare(canvas):
    total = canvas.sum()
    if total == 0:
        return canvas.new_zeros(28, 28)
    places = (canvas > 0).nonzero().float()
    scale = (places.amax(0) - places.amin(0) + 1).max() / 20
    index = torch.arange(280.0)
    middle = torch.stack([index @ canvas.sum(1), index @ canvas.sum(0)]) / total
    blurred = F.avg_pool2d(canvas[None, None], 2 * int(scale / 2) + 1, 1, int(scale / 2))
    steps = (torch.arange(28.0) - 14) * scale
    rows, columns = ((middle[axis] + steps) / 279 * 2 - 1 for axis in (0, 1))
    grid = torch.stack([columns.expand(28, 28), rows[:, None].expand(28, 28)], dim=-1)
    return F.grid_sample(blurred, grid[None], align_corners=True)[0, 0]"""

C1, C3, LAST = "nn.Conv2d(1, 6, 5, padding=2)", "nn.Conv2d(6, 16, 5), nn.Tanh(),", "nn.Linear(84, 10),"
SIZE = "(max(1, round(side * factor)) for side in crop.shape)"
PLACE = "top, left = round(14 - row), round(14 - column)"
BOXED = (PLACE, "top, left = (28 - height) // 2, (28 - width) // 2")
CLAMP = "    top, left = min(max(top, 0), 28 - height), min(max(left, 0), 28 - width)\n"
RETURN = "    return new"

WRONG = {
    "05/shape_table": [
        (changed(TABLE, "(6, 14, 14)", "(3, 14, 14)"), "S2: pooling keeps the channels"),
        (changed(TABLE, "(16, 5, 5)", "(8, 5, 5)"), "S4: pooling keeps the channels"),
        (changed(TABLE, "(16, 10, 10)", "(10, 10, 16)"), "channels first"),
        (changed(TABLE, "(6, 28, 28)", "(1, 6, 28, 28)"), "leave the batch axis out"),
        (changed(TABLE, "(84,)", "(64, 84)"), "F6: leave the batch axis out"),
        (changed(TABLE, "(16, 5, 5)", "(16, 4, 4)", "(120, 1, 1)", "(120,)"), "S4: (16, 4, 4) is not it"),
        (changed(TABLE, "(10,)", "(84,)"), "out: 84 is not in this layer's row"),
        (changed(TABLE, "(6, 28, 28)", "6 * 28 * 28"), "expected 3 numbers"),
        (changed(TABLE, '"F6": (84,), ', ""), "F6 is missing"),
        (changed(TABLE, "(6, 28, 28)", "'6x28x28'"), "C1: expected a tuple"),
        (changed(TABLE, "(6, 28, 28)", "None"), "C1: expected a tuple"),
        ("shape_table = [(6, 28, 28), (6, 14, 14)]", "expected a dict"),
    ],
    "05/make_lenet": [
        (changed(LENET, "AvgPool", "MaxPool", "Tanh", "ReLU"), "of tanh; and the poolings take the maximum"),
        (changed(LENET, "Linear(120, 84)", "Linear(400, 84)"), "trace_shapes"),
        (changed(LENET, "nn.Linear(120, 84)", "nn.Linear(120, 100)", LAST, "nn.Linear(100, 10),"),
         "missing: Linear with weight (84, 120) and bias (84,)"),
        (changed(LENET, C3, "nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.Tanh(),"), "too much: BatchNorm2d"),
        (changed(LENET, C1, "nn.Conv2d(1, 6, 3, padding=1)"), "missing: Conv2d with weight (6, 1, 5, 5)"),
        (changed(LENET, LAST, f"{LAST} nn.Dropout(0.5),"), "the numbers are not"),
        (changed(LENET, f"        {LAST}\n", ""), "expected float32 (3, 10), got float32 (3, 84)"),
        (changed(LENET, "Flatten()", "Flatten(0)", "Linear(120", "Linear(360"), "expected float32 (3, 10)"),
        (changed(LENET, "Tanh", "GELU"), "compare the order of the steps line by line"),
        (changed(LENET_CLASS, "torch.tanh(self.c1(x))", "torch.tanh(nn.Conv2d(1, 6, 5, padding=2)(x))"),
         "another output each time"),
        (changed(LENET, "nn.Sequential(", "[", "    )", "    ]"), "expected an nn.Module back, got ["),
        (changed(LENET, "    return nn", "    model = nn"), "is the return missing"),
        (changed(LENET, "nn.Tanh()", "nn.tanh()"), "raised AttributeError"),
        (LENET + "\nmake_lenet = make_lenet()", "without brackets"),
    ],
    "05/first_mismatch": [('first_mismatch = "e"', "expected one of a, b, c, d")],
    "05/parameter_count": [
        ("parameter_count = '61706'", "expected a number"),
        ("parameter_count = 59706", "a filter spans all input channels"),
        ("parameter_count = 61707", "is not it"),
        ("parameter_count = 416520", "multiply-adds"),
    ],
    "05/share_of_work": [
        ("share_of_work = 0.78", "C5's share of the parameters"),
        ("share_of_work = 0.5762", "C3 alone"),
        ("share_of_work = 86", "in percent"),
        ("share_of_work = 0.728", "a filter of C3 spans all six maps"),
        ("share_of_work = 0.909", "C3 gives out 10×10 places"),
        ("share_of_work = 0.5", "is not it"),
    ],
    "05/with_max_pooling": [
        (changed(MAX_POOLING, RETURN, f"    for weight in model.parameters():\n        weight.data.zero_()\n{RETURN}"),
         "the model that came in has changed"),
        (FLAT_LOOP, "also those inside a block"),
        (changed(FLAT_LOOP, "layer.stride)", "layer.stride)\n            break"), "still take the mean"),
        (changed(MAX_POOLING, RETURN, "    for k, layer in enumerate(new):\n        if isinstance(layer, nn.Tanh):\n"
                 f"            new[k] = nn.ReLU()\n{RETURN}"), "expected 'Tanh', got 'ReLU'"),
        (changed(MAX_POOLING, "isinstance(layer, nn.AvgPool2d)", "'Avg' in type(layer).__name__"),
         "nn.AdaptiveAvgPool2d is another layer"),
        (changed(MAX_POOLING, "return new", "return new.eval()"), "in eval mode"),
        (SHARED, "hold the same weights"),
        (changed(MAX_POOLING, RETURN, ""), "returned None"),
        (changed(MAX_POOLING, "return new", "return list(new)"), "expected ("),
        ("with_max_pooling = 3", "expected a function"),
    ],
    "05/spot_evaluation": [("spot_evaluation = 3", "expected one of a, b, c, d")],
    "05/accuracy": [
        (changed(ACCURACY, "    model.eval()\n", "", "with torch.no_grad():", "if True:"), "torch.no_grad() does"),
        (changed(ACCURACY, "argmax(dim=1)", "argmax()"), "argmax needs dim=1"),
        (changed(MODE_BY_MODE, "module.training = mode", "module.training = True"), "came in eval mode"),
        (changed(ACCURACY, "argmax(dim=1)", "argmax(dim=0)"), "raised RuntimeError"),
        (changed(ACCURACY, "    return right / total", ""), "returned None"),
        (JOINED, "joined into one"),
        ("accuracy = 0.98", "expected a function"),
    ],
    "05/prepare": [
        (changed(PREPARE_NUMPY, "pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]", "pixels"),
         "how large one draws"),
        ("def prepare(canvas):\n    return F.interpolate(canvas[None, None], size=28)[0]", "got float32 (1, 28, 28)"),
        (changed(PREPARE, "factor = 20", "factor = 28", *BOXED), "fills all 28 pixels"),
        (changed(PREPARE, "factor = 20", "factor = 19"), "should have 20 pixels, not 19"),
        (changed(PREPARE, "(max(1, round(side * factor)) for", "(int(side * factor) for"), "become 0 pixels"),
        (changed(PREPARE, "(max(1, round(side * factor)) for", "(round(side * factor) for"), "become 0 pixels"),
        (changed(PREPARE, "columns[-1] + 1", "columns[-1]", "rows[-1] + 1", "rows[-1]"), "rows[0] to rows[-1] + 1"),
        (changed(PREPARE, CLAMP, ""), "move it back in"),
        (changed(PREPARE, "canvas.amax(dim=1)", "(canvas > 0.5).any(dim=1)", "canvas.amax(dim=0)",
                 "(canvas > 0.5).any(dim=0)"), "every pixel above 0 is ink"),
        (changed(PREPARE_NUMPY, "np.nonzero(pixels)", "np.nonzero(pixels > 0.5)"), "every pixel above 0 is ink"),
        (changed(PREPARE, 'mode="area"', 'mode="nearest"'), "average them"),
        (PREPARE_SMOOTH, "move it back in"),
        (changed(PREPARE, SIZE, "(28, 28)", *BOXED), "stretched"),
        (changed(PREPARE, PLACE, "top, left = int(14 - row), int(14 - column)"), "half a pixel"),
        (changed(PREPARE_SMOOTH, "torch.arange(28.0) - 14", "torch.arange(28.0) - 13.5"), "half a pixel"),
        (changed(PREPARE, PLACE, "top, left = round(14 - column), round(14 - row)",
                 "= small\n", "= small[: 28 - top, : 28 - left]\n"), "should lie at row 14"),
        (changed(PREPARE, "return picture", "return 255 * picture"), "from 0 to 1"),
        (changed(PREPARE, "return picture", "return (picture - 0.1307) / 0.3081"), "standardizing comes later"),
        (changed(PREPARE, "return picture", "return picture.round().int()"), "got int32 (28, 28)"),
        (changed(PREPARE, "return picture", "return picture.flip(1).roll(1, dims=1)"), "mirrored"),
        (changed(PREPARE, "= small\n", "= small.mean()\n"), "should lie at row 14"),
        (changed(PREPARE, "canvas.max() == 0", "False"), "return zeros where there is no ink"),
        (changed(PREPARE, "torch.zeros(28, 28)\n    rows", "torch.full((28, 28), torch.nan)\n    rows"), "got nan"),
        (changed(PREPARE, "torch.zeros(28, 28)\n    rows", "torch.ones(28, 28)\n    rows"), "empty canvas goes wrong"),
        (changed(PREPARE, "return torch.zeros(28, 28)", "return None"), "for an empty canvas: expected float32"),
        (changed(PREPARE, "    picture[top", "    torch.zeros(28, 28)[top"), "came out empty"),
        (changed(PREPARE, "return picture", "picture.sum()"), "is the return missing"),
        ("prepare = None", "expected a function"),
    ],
}  # fmt: skip

RIGHT = [
    ("05/shape_table", changed(TABLE, "(6, 28, 28)", "[6, 28, 28]", "(84,)", "84")),
    ("05/shape_table", changed(TABLE, "(16, 5, 5)", "np.array([16, 5, 5])")),
    ("05/shape_table", changed(TABLE, "(120, 1, 1)", "torch.zeros(120, 1, 1).shape", "(10,)", "torch.tensor([10])")),
    ("05/make_lenet", LENET_CLASS),
    ("05/make_lenet", LENET_CLASS + "\nmake_lenet = LeNet"),
    ("05/make_lenet", changed(LENET, C1, "nn.ZeroPad2d(2), nn.Conv2d(1, 6, 5)")),
    ("05/make_lenet", changed(LENET_CLASS, ', padding="same"', "", "self.c1(x)", "self.c1(F.pad(x, (2, 2, 2, 2)))")),
    ("05/make_lenet", changed(LENET, "nn.Conv2d(16, 120, 5), nn.Tanh(),\n        nn.Flatten(),",
                              "nn.Flatten(), nn.LazyLinear(120), nn.Tanh(),")),
    ("05/make_lenet", changed(LENET, LAST, "nn.Linear(84, 10, dtype=torch.float64),", "    )", "    ).double()")),
    ("05/parameter_count", "parameter_count = torch.tensor(61706)"),
    ("05/share_of_work", "share_of_work = 0.86"),
    ("05/with_max_pooling", MAX_POOLING),
    ("05/with_max_pooling", changed(MAX_POOLING, "layer.kernel_size,", "2 * (layer.kernel_size,),")),
    ("05/with_max_pooling", changed(SHARED, "else model", "else copy.deepcopy(model)")),
    ("05/spot_evaluation", 'spot_evaluation = " C"'),
    ("05/accuracy", changed(ACCURACY, ".sum().item()", ".sum()")),
    ("05/accuracy", changed(ACCURACY, "no_grad", "inference_mode", "right / total", "np.float32(right / total)")),
    ("05/accuracy", ON_A_COPY),
    ("05/accuracy", MODE_BY_MODE),
    ("05/prepare", PREPARE),
    ("05/prepare", changed(PREPARE, 'mode="area"', 'mode="bilinear"')),
    ("05/prepare", changed(PREPARE, 'mode="area"', 'mode="bilinear", antialias=True')),
    ("05/prepare", changed(PREPARE, "area", "bicubic", "return picture", "return picture.clamp(0, 1).tolist()")),
    ("05/prepare", PREPARE_NUMPY),
]  # fmt: skip
