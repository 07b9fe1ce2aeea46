"""Chapter 11: other answers."""

from answers import changed
from exercises.resnet import BLOCK, NECK

SECOND = "self.norm2(self.conv2(out))"
LAST = f"return ({SECOND} + self.shortcut(x)).relu()"
ZERO = "        self.shortcut = nn.Identity()\n        nn.init.zeros_(self.norm2.weight)\n"
AGAIN = f"out = {SECOND}\n        out += self.shortcut(x)\n        return F.relu_(out)"
WHEN = "if stride != 1 or before != after:"
WITHOUT_GAMMA = "F.batch_norm(self.conv2(out), self.norm2.running_mean, self.norm2.running_var, training=self.training)"
EMPTY = """class ResidualBlock(nn.Module):
    def __init__(self, before, after, stride=1):
        super().__init__()

    def forward(self, x):
        return x.relu()"""
REBOUND = """class ResidualBlock(nn.Module):
    def __init__(self, before, after, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.short = nn.Sequential()
        if (before, stride) != (after, 1):
            self.short = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return F.relu(x + self.short(x))"""
LISTED = """class ResidualBlock(nn.Module):
    def __init__(self, before, after, stride=1):
        super().__init__()
        self.layers = [
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after),
        ]

    def forward(self, x):
        out = x
        for layer in self.layers:
            out = layer(out)
        return torch.relu(out + x)"""
BACKWARD = """class ResidualBlock(nn.Module):
    def __init__(self, before, after, stride=1):
        super().__init__()
        if before != after or stride > 1:
            self.d = nn.BatchNorm2d(after)
            self.c = nn.LazyConv2d(after, kernel_size=(1, 1), stride=(stride, stride), bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.norms = nn.ModuleList([nn.BatchNorm2d(after), nn.BatchNorm2d(after)])
        self.b = nn.Conv2d(after, after, 3, padding="same", bias=False)
        self.a = nn.LazyConv2d(after, 3, stride=stride, padding=1, bias=False)

    def forward(self, x):
        y = self.norms[0](self.b(self.relu(self.norms[1](self.a(x)))))
        y += self.d(self.c(x)) if hasattr(self, "c") else x
        return self.relu(y)"""
MIDDLE, STAYS = "nn.Conv2d(narrow, narrow, 3, stride, ", "nn.Conv2d(narrow, narrow, 3, "
OPENING, SUM = "nn.Conv2d(before, narrow, 1, ", "return (self.branch(x) + self.shortcut(x)).relu()"

WRONG = {
    "11/residual_block": [
        (changed(BLOCK, LAST, f"return {SECOND}.relu() + self.shortcut(x)"), "can only add"),
        (changed(BLOCK, LAST, f"return {SECOND}"), "the shortcut is not added"),
        (changed(BLOCK, "conv1(x)).relu()", "conv1(x))", "shortcut(x)).relu()", "shortcut(x))"),
         "the ReLU after the sum is missing; and the ReLU after the first BatchNorm is missing"),
        (changed(BLOCK, "conv1(x)).relu()", "conv1(x))", "        self.shortcut = nn.Identity()\n", ZERO),
         "the ReLU after the first BatchNorm is missing"),
        (changed(BLOCK, SECOND, WITHOUT_GAMMA), "the numbers are not: compare the order of the steps line by line"),
        (EMPTY.replace("return x.relu()", "x.relu()"), "got None: is the return missing?"),
        (changed(BLOCK, WHEN, "self.unused = nn.Conv2d(before, after, 1, bias=False)\n        " + WHEN),
         "too much: Conv2d with weight (4, 4, 1, 1)"),
        (changed(BLOCK, "        out = ", "        F.relu(x, inplace=True)\n        out = "), "you overwrote x"),
        (changed(BLOCK, "Conv2d(before, after, 3, stride", "Conv2d(before, before, 3, stride",
                 "norm1 = nn.BatchNorm2d(after", "norm1 = nn.BatchNorm2d(before",
                 "(after, after, 3", "(before, after, 3"), "missing: BatchNorm2d with weight (6,) and bias (6,)"),
        (changed(BLOCK, "        super().__init__()\n", ""), "for before = 4, after = 4: it raised AttributeError"),
        (changed(BLOCK, "stride=1", "stride"), "raised TypeError"),
        (changed(BLOCK, "self.norm2(self", "self.norm3(self"), "raised AttributeError"),
        (changed(BLOCK, LAST, LAST[7:]), "is the return missing"),
        (changed(BLOCK, "shortcut(x)).relu()", "shortcut(x)).relu().flatten(1)"),
         "expected float32 (5, 4, 9, 8), got float32 (5, 288)"),
        (changed(BLOCK, "conv1(x)).relu()", "conv1(x)).relu() * torch.rand(1)"), "gives another output each time"),
        (EMPTY, "has no parameters"),
        (LISTED, "nn.ModuleList"),
        (REBOUND, "x stands for something else when it is added"),
        (changed(REBOUND, "x + self.short(x)", "self.short(x)"), "the shortcut is not added"),
        (BLOCK + "\nResidualBlock = ResidualBlock(16, 16)", "without brackets"),
        ("ResidualBlock = 3", "expected the class or function itself, got int"),
        ("def ResidualBlock(before, after, stride=1):\n    return []", "expected an nn.Module back, got []"),
        ("def ResidualBlock(before, after, stride=1):\n    pass", "expected an nn.Module back, got None"),
    ],
    "11/bottleneck": [
        (changed(NECK, SUM, "return self.branch(x).relu()"), "the shortcut is not added"),
        (changed(NECK, "\n            nn.BatchNorm2d(after),\n", "nn.BatchNorm2d(after), nn.ReLU(),\n"),
         "can only add"),
        (changed(NECK, MIDDLE, STAYS, OPENING, OPENING + "stride, "), "the task puts it on the 3×3"),
        (changed(NECK, OPENING, "nn.Conv2d(before, narrow, 3, padding=1, ", MIDDLE + "padding=1,",
                 "nn.Conv2d(narrow, narrow, 1, stride,"), "missing: Conv2d with weight (3, 4, 1, 1), Conv2d"),
        (BLOCK + "\nBottleneck = ResidualBlock", "expected float32 (5, 4, 9, 8), got float32 (5, 3, 3, 2)"),
        (NECK + "\nBottleneck = Bottleneck(256, 64, 256)", "without brackets"),
    ],
    "11/ruled_out": [("ruled_out = 'ab'", "expected one of"), ("ruled_out = 'over-fitting'", "expected one of")],
    "11/paths_left": [
        ("paths_left = 1024 - 1", "more than one path"),
        ("paths_left = '512'", "expected a number"),
        ("paths_left = 2 ** 10 - 2 ** 8", "768 is not it"),
    ],
    "11/negative_loss": [('negative_loss = "e"', "expected one of"), ("negative_loss = None", "expected one of")],
    "11/blocks_for_56": [("blocks_for_56 = '9'", "expected a number"), ("blocks_for_56 = 7", "7 is not it")],
    "11/resnet20_parameters": [
        ("resnet20_parameters = 0.27e6", "count exactly"),
        ("resnet20_parameters = 269722 + 688 * 2 + 3 * 5", "is not it"),
        ("resnet20_parameters = 269722 - 2 * 16 * 9", "three"),
        ("resnet20_parameters = 269722 - 3 * 16 * 9 - 2 * 16", "the first convolution is missing"),
        ("resnet20_parameters = 269722 + 16 * 32 + 32 * 64", "without BatchNorm"),
    ],
}  # fmt: skip

RIGHT = [
    ("11/residual_block", BACKWARD),
    ("11/residual_block", changed(REBOUND, "x = ", "y = ", "conv2(x)", "conv2(y)", "x + self", "y + self")),
    ("11/residual_block", changed(BLOCK, "class ResidualBlock", "class Other", "=1):", "=1, bias=False):")
     + "\ndef ResidualBlock(before, after, stride=1):\n    return Other(before, after, stride).double().eval()"),
    ("11/residual_block", changed(BLOCK, LAST, AGAIN)),
    ("11/bottleneck", changed(NECK, "nn.ReLU(),", "nn.ReLU(inplace=True),")),
    ("11/ruled_out", "ruled_out = 'A'"),
    ("11/paths_left", "paths_left = 1024 / 2"),
    ("11/negative_loss", 'negative_loss = " C"'),
    ("11/blocks_for_56", "blocks_for_56 = torch.tensor(9.0)"),
    ("11/resnet20_parameters", "resnet20_parameters = np.int64(269722)"),
]  # fmt: skip
