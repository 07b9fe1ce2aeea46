"""Chapter 05: what students write instead, and a piece of the message that must name the mistake."""

from wrong_answers_04 import IMPORTS, changed

TABLE = """shape_table = {
    "C1": (6, 28, 28),
    "S2": (6, 14, 14),
    "C3": (16, 10, 10),
    "S4": (16, 5, 5),
    "C5": (120, 1, 1),
    "F6": (84,),
    "out": (10,),
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
    modes = [module.training for module in model.modules()]
    model.eval()
    right = total = 0
    with torch.no_grad():
        for images, labels in batches:
            right += (model(images).argmax(dim=1) == labels).sum().item()
            total += len(labels)
    for module, mode in zip(model.modules(), modes):
        module.training = mode
    return right / total"""
RESTORE = "    for module, mode in zip(model.modules(), modes):\n        module.training = mode\n"

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
    rows, columns = np.nonzero(pixels > 0.5)
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


def lenet(*changes: tuple[str, str]) -> str:
    return changed(LENET, *changes)


def pooled(old: str, new: str) -> str:
    return changed(MAX_POOLING, (old, new))


def evaluated(*changes: tuple[str, str]) -> str:
    return changed(ACCURACY, *changes)


def canvas_prepared(*changes: tuple[str, str]) -> str:
    return changed(PREPARE, *changes)


BOXED = ("top, left = round(14 - row), round(14 - column)", "top, left = (28 - height) // 2, (28 - width) // 2")
C1, C3 = "nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(),", "nn.Conv2d(6, 16, 5), nn.Tanh(),"
C5, LAST = "nn.Conv2d(16, 120, 5), nn.Tanh(),", "nn.Linear(84, 10),"

WRONG = {
    "05/shape_table": [
        (changed(TABLE, ("(6, 28, 28)", "(6, 24, 24)")), "C1 has padding 2"),
        (changed(TABLE, ("(16, 10, 10)", "(16, 14, 14)")), "C3 has no padding"),
        (changed(TABLE, ("(6, 14, 14)", "(3, 14, 14)")), "S2: pooling keeps the channels"),
        (changed(TABLE, ("(16, 5, 5)", "(8, 5, 5)")), "S4: pooling keeps the channels"),
        (changed(TABLE, ("(16, 10, 10)", "(10, 10, 16)")), "channels first"),
        (changed(TABLE, ("(6, 28, 28)", "(1, 6, 28, 28)")), "leave the batch axis out"),
        (changed(TABLE, ("(84,)", "(64, 84)")), "F6: leave the batch axis out"),
        (changed(TABLE, ("(120, 1, 1)", "(120,)")), "flatten comes after"),
        (changed(TABLE, ("(120, 1, 1)", "120")), "flatten comes after"),
        (changed(TABLE, ("(16, 5, 5)", "(16, 4, 4)"), ("(120, 1, 1)", "(120,)")), "S4: (16, 4, 4) is not it"),
        (changed(TABLE, ("(10,)", "(84,)")), "out: 84 channels or features"),
        (changed(TABLE, ("(6, 28, 28)", "6 * 28 * 28")), "expected 3 numbers"),
        (changed(TABLE, ('    "F6": (84,),\n', "")), "F6 is missing"),
        (changed(TABLE, ("(6, 28, 28)", "'6x28x28'")), "C1: expected a tuple"),
        (changed(TABLE, ("(6, 28, 28)", "None")), "C1: expected a tuple"),
        ("shape_table = [(6, 28, 28), (6, 14, 14)]", "expected a dict"),
    ],
    "05/make_lenet": [
        (lenet((LAST, LAST + " nn.Softmax(dim=1),")), "softmax at the end"),
        (lenet((LAST, LAST + " nn.LogSoftmax(dim=1),")), "log-softmax at the end"),
        (lenet((LAST, LAST + " nn.Tanh(),")), "logits pass through tanh"),
        (lenet((LAST, LAST + " nn.ReLU(),")), "logits pass through ReLU"),
        (lenet((C1, "nn.Conv2d(1, 6, 5, padding=2),")), "tanh after C1 is missing"),
        (lenet((C5, "nn.Conv2d(16, 120, 5),")), "tanh after C5 is missing"),
        (lenet(("nn.Linear(120, 84), nn.Tanh()", "nn.Linear(120, 84)")), "tanh after F6 is missing"),
        (lenet((" nn.Tanh(),", "")), "there is no activation"),
        (lenet(("Tanh", "ReLU")), "ReLU takes the place of tanh"),
        (lenet(("Tanh", "Sigmoid")), "sigmoid takes the place of tanh"),
        (lenet(("AvgPool", "MaxPool")), "poolings take the maximum"),
        (lenet(("AvgPool", "MaxPool"), ("Tanh", "ReLU")), "of tanh; the poolings take the maximum"),
        (lenet(("nn.Tanh(), nn.AvgPool2d(2)", "nn.AvgPool2d(2), nn.Tanh()")), "pooling comes before tanh"),
        (lenet((", padding=2", "")), "C1 has padding 2"),
        (lenet((", padding=2", ""), (C5, ""), ("Linear(120, 84)", "Linear(256, 84)")), "C1 has padding 2"),
        (lenet(("Linear(120, 84)", "Linear(400, 84)")), "trace_shapes"),
        (lenet(("nn.Flatten(), ", "")), "trace_shapes"),
        (lenet(("nn.Linear(120, 84)", "nn.Linear(120, 100)"), (LAST, "nn.Linear(100, 10),")),
         "F6's weight of shape (84, 120)"),
        (lenet((C3, "nn.Conv2d(6, 16, 5, bias=False), nn.Tanh(),")), "C3's bias is missing"),
        (lenet((C3, "nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.Tanh(),")), "expected ten parameters"),
        (lenet(("        nn.Linear(84, 10),\n", "")), "expected logits of shape (3, 10), got (3, 84)"),
        (lenet(("nn.Flatten()", "nn.Flatten(0)"), ("Linear(120", "Linear(360")), "expected logits of shape (3, 10)"),
        (lenet(("Tanh", "GELU")), "compare the order line by line"),
        (changed(LENET_CLASS, ("torch.tanh(self.c1(x))", "torch.tanh(nn.Conv2d(1, 6, 5, padding=2)(x))")),
         "other logits each time"),
        (lenet(("nn.Sequential(", "[")).replace("    )", "    ]"), "expected an nn.Module back"),
        (lenet(("    return nn", "    model = nn")), "returned None"),
        (lenet(("nn.Tanh()", "nn.tanh()")), "raised AttributeError"),
        (LENET + "\nmake_lenet = make_lenet()", "without brackets"),
    ],
    "05/parameter_count": [
        ("parameter_count = 61470", "biases are forgotten"),
        ("parameter_count = 60000", "the paper's figure"),
        ("parameter_count = 14706", "all input channels"),
        ("parameter_count = 61750", "our pooling learns nothing"),
        ("parameter_count = '61706'", "expected a number"),
        ("parameter_count = 61707", "is not it"),
    ],
    "05/with_max_pooling": [
        (pooled("copy.deepcopy(model)", "model"), "has changed"),
        (pooled("    return new", "    for weight in model.parameters():\n        weight.data.zero_()\n    return new"),
         "has changed"),
        (FLAT_LOOP, "also those inside a block"),
        (changed(FLAT_LOOP, ("layer.stride)", "layer.stride)\n            break")), "still take the mean"),
        (pooled("layer.kernel_size, layer.stride", "layer.kernel_size"), "kernel size and stride"),
        (pooled("layer.kernel_size, layer.stride", "2"), "kernel size and stride"),
        (pooled("                setattr(block, name, nn", "                layer = (nn"), "no pooling was replaced"),
        (pooled("    return new", "    for k, layer in enumerate(new):\n        if isinstance(layer, nn.Tanh):\n"
                "            new[k] = nn.ReLU()\n    return new"), "Tanh became ReLU"),
        (pooled("    return new", "    for layer in new.modules():\n        if hasattr(layer, 'reset_parameters'):\n"
                "            layer.reset_parameters()\n    return new"), "copy them"),
        (SHARED, "hold the same weights"),
        (pooled("    return new", ""), "returned None"),
        (pooled("return new", "return list(new)"), "expected an nn.Module back"),
        ("with_max_pooling = 3", "expected a function"),
    ],
    "05/share_of_work": [
        ("share_of_work = 0.78", "C5's share of the parameters"),
        ("share_of_work = 117600 / 416520", "C1 alone"),
        ("share_of_work = 0.5762", "C3 alone"),
        ("share_of_work = 86", "in percent"),
        ("share_of_work = (156 + 2416) / 61706", "their share of the parameters"),
        ("share_of_work = 357600", "divide by"),
        ("share_of_work = 0.5", "is not it"),
    ],
    "05/accuracy": [
        (evaluated(("    model.eval()\n", "")), "dropout was at work"),
        (evaluated((RESTORE, "")), "still in eval mode"),
        (evaluated((RESTORE, "    model.train()\n")), "is now in training mode"),
        (evaluated((RESTORE, "    model.train(modes[0])\n")), "frozen part"),
        (evaluated(("with torch.no_grad():", "if True:")), "torch.no_grad() does"),
        (evaluated(("right / total", "100 * right / total")), "in percent"),
        (evaluated(("right / total", "right / len(batches)")), "not of batches"),
        (evaluated(("right / total", "right")), "divide by how many images"),
        (evaluated((".sum().item()", ".float().mean().item()"), ("/ total", "/ len(batches)")),
         "mean of the batches' accuracies"),
        (evaluated(("right / total", "right / (len(batches) * len(batches[0][1]))")), "the last batch is shorter"),
        (evaluated(("right += ", "right = "), ("total += ", "total = ")), "last batch alone"),
        (evaluated(("right / total", "1 - right / total")), "share of wrong answers"),
        (evaluated(("argmax(dim=1)", "argmin(dim=1)")), "answers are right, so expected"),
        (evaluated(("argmax(dim=1)", "argmax(dim=0)")), "raised RuntimeError"),
        (evaluated(("    return right / total", "")), "returned None"),
        (evaluated(("model(images)", "torch.zeros(len(labels), 10)")), "never called"),
        ("def accuracy(model, batches):\n    modes = [m.training for m in model.modules()]\n    model.eval()\n"
         "    images, labels = (torch.cat(parts) for parts in zip(*batches))\n    with torch.no_grad():\n"
         "        share = (model(images).argmax(dim=1) == labels).float().mean().item()\n"
         "    for module, mode in zip(model.modules(), modes):\n        module.training = mode\n    return share",
         "joined into one"),
    ],
    "05/prepare": [
        (changed(PREPARE_NUMPY, ("pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]", "pixels")),
         "how large one draws"),
        ("def prepare(canvas):\n    return F.interpolate(canvas[None, None], size=28, mode='area')[0, 0]",
         "how large one draws"),
        ("def prepare(canvas):\n    return F.interpolate(canvas[None, None], size=28)[0]", "(1, 28, 28)"),
        (canvas_prepared(("factor = 20", "factor = 28"), BOXED), "fills all 28 pixels"),
        (canvas_prepared(("factor = 20", "factor = 16")), "should have 20 pixels, got 16"),
        (canvas_prepared(("    top, left = min(max(top, 0), 28 - height), min(max(left, 0), 28 - width)\n", "")),
         "move it back in"),
        (canvas_prepared(("(max(1, round(side * factor)) for", "(int(side * factor) for")), "become 0 pixels"),
        (PREPARE_SMOOTH, "move it back in"),
        (canvas_prepared(("(max(1, round(side * factor)) for side in crop.shape)", "(20, 20)")), "stretched"),
        (canvas_prepared(("(max(1, round(side * factor)) for side in crop.shape)", "(28, 28)"), BOXED), "stretched"),
        (canvas_prepared(("14 - row", "13.5 - row"), ("14 - column", "13.5 - column")), "half a pixel"),
        (canvas_prepared(("round(14 - row), round(14 - column)", "int(14 - row), int(14 - column)")), "half a pixel"),
        (changed(PREPARE_SMOOTH, ("torch.arange(28.0) - 14", "torch.arange(28.0) - 13.5")), "half a pixel"),
        (canvas_prepared(BOXED), "the rectangle around the ink"),
        (canvas_prepared((BOXED[0], "top, left = 0, 0")), "should lie at row 14"),
        (canvas_prepared((BOXED[0], "top, left = round(14 - column), round(14 - row)"),
                         ("= small\n", "= small[: 28 - top, : 28 - left]\n")), "should lie at row 14"),
        (canvas_prepared(("return picture", "return picture.T")), "rows and columns are swapped"),
        (canvas_prepared(("return picture", "return 1 - picture")), "inverted"),
        (canvas_prepared(("return picture", "return 255 * picture")), "from 0 to 1"),
        (canvas_prepared(("return picture", "return (picture - 0.1307) / 0.3081")), "standardizing comes later"),
        (canvas_prepared(("return picture", "return picture.round().int()")), "expected float pixels"),
        (canvas_prepared(("return picture", "return picture[None, None]")), "expected a picture of shape (28, 28)"),
        (canvas_prepared(("return picture", "return 0.5 * picture")), "faint"),
        (canvas_prepared(("return picture", "return picture.flip(1).roll(1, dims=1)")), "mirrored or upside down"),
        (canvas_prepared(("= small\n", "= small.mean()\n")), "should lie at row 14"),
        (canvas_prepared(("canvas.max() == 0", "False")), "empty canvas raised"),
        (canvas_prepared(("return torch.zeros(28, 28)", "return torch.full((28, 28), torch.nan)")), "gives NaN"),
        (canvas_prepared(("return torch.zeros(28, 28)", "return None")), "should give zeros"),
        (canvas_prepared(("    picture[top", "    torch.zeros(28, 28)[top")), "came out empty"),
        (canvas_prepared(("return picture", "print()")), "returned None"),
    ],
    "05/spot_evaluation": [
        ('spot_evaluation = "a"', "this network has neither"),
        ('spot_evaluation = "b"', "optimizer.step()"),
        ('spot_evaluation = "d"', "batches save nearly all"),
    ],
    "05/first_mismatch": [
        ('first_mismatch = "a"', "24×24 and no error"),
        ('first_mismatch = "b"', "halves any map"),
        ('first_mismatch = "d"', "never reached"),
    ],
}  # fmt: skip

RIGHT = [
    ("05/shape_table", changed(TABLE, ("(6, 28, 28)", "[6, 28, 28]"), ("(84,)", "84"), (
        "(16, 5, 5)", "np.array([16, 5, 5])"))),
    ("05/shape_table", changed(TABLE, ("(120, 1, 1)", "torch.zeros(120, 1, 1).shape"))),
    ("05/make_lenet", LENET_CLASS),
    ("05/make_lenet", LENET_CLASS + "\nmake_lenet = LeNet"),
    ("05/make_lenet", lenet(("nn.Conv2d(16, 120, 5), nn.Tanh(),\n        nn.Flatten(),",
                             "nn.Flatten(), nn.LazyLinear(120), nn.Tanh(),"))),
    ("05/make_lenet", lenet((LAST, LAST.replace("10)", "10, dtype=torch.float64)"))).replace(
        "    )", "    ).double()")),
    ("05/parameter_count", "parameter_count = torch.tensor(61706)"),
    ("05/with_max_pooling", MAX_POOLING),
    ("05/with_max_pooling", changed(SHARED, ("else model", "else copy.deepcopy(model)"))),
    ("05/share_of_work", "share_of_work = 0.86"),
    ("05/accuracy", ACCURACY),
    ("05/accuracy", evaluated((".sum().item()", ".sum()"))),
    ("05/accuracy", evaluated(("no_grad", "inference_mode"), ("right / total", "np.float32(right / total)"))),
    ("05/prepare", PREPARE),
    ("05/prepare", canvas_prepared(('mode="area"', 'mode="bilinear"'))),
    ("05/prepare", canvas_prepared(("area", "bicubic"), ("return picture", "return picture.clamp(0, 1).tolist()"))),
    ("05/prepare", PREPARE_NUMPY),
    ("05/spot_evaluation", 'spot_evaluation = " C"'),
]  # fmt: skip

WRONG_ANSWERS = {name: [(IMPORTS + source, names) for source, names in answers] for name, answers in WRONG.items()}
OTHER_RIGHT_ANSWERS = [(name, IMPORTS + source) for name, source in RIGHT]
