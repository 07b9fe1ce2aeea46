"""Chapter 11: what students write instead, and a piece of the message that must name the mistake."""

from wrong_answers_04 import IMPORTS, changed

BLOCK = """class ResidualBlock(nn.Module):
    def __init__(self, before, after, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        out = self.norm1(self.conv1(x)).relu()
        return (self.norm2(self.conv2(out)) + self.shortcut(x)).relu()"""

BLOCK_BACKWARD = """class ResidualBlock(nn.Module):
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

NECK = """class Bottleneck(nn.Module):
    def __init__(self, before, narrow, after, stride=1):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(before, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, stride, padding=1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(),
            nn.Conv2d(narrow, after, 1, bias=False), nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        return (self.branch(x) + self.shortcut(x)).relu()"""

FIRST, SECOND = "norm1(self.conv1(x)).relu()", "self.norm2(self.conv2(out))"
LAST = "return (self.norm2(self.conv2(out)) + self.shortcut(x)).relu()"
PROJECTION = "nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))"
WHEN = "if stride != 1 or before != after:"
ZERO = "        self.shortcut = nn.Identity()\n        nn.init.zeros_(self.norm2.weight)\n"
WITHOUT_GAMMA = "F.batch_norm(self.conv2(out), self.norm2.running_mean, self.norm2.running_var, training=self.training)"
AGAIN = f"out = {SECOND}\n        out += self.shortcut(x)\n        return F.relu_(out)"
EMPTY = """class ResidualBlock(nn.Module):
    def __init__(self, before, after, stride=1):
        super().__init__()

    def forward(self, x):
        return x.relu()"""
OPENING, CLOSING = "nn.Conv2d(before, narrow, 1, ", "nn.Conv2d(narrow, after, 1, "
MIDDLE = "nn.Conv2d(narrow, narrow, 3, stride, padding=1, "
MIDDLE_STAYS = "nn.Conv2d(narrow, narrow, 3, padding=1, "
NORM, RELU = "nn.BatchNorm2d(narrow)", "nn.ReLU(),\n            "
SUM = "return (self.branch(x) + self.shortcut(x)).relu()"


def block(*changes: tuple[str, str]) -> str:
    return changed(BLOCK, *changes)


def neck(*changes: tuple[str, str]) -> str:
    return changed(NECK, *changes)


WRONG = {
    "11/residual_block": [
        (block((LAST, f"return {SECOND}.relu() + self.shortcut(x)")), "can only add"),
        (block((LAST, f"return ({SECOND}.relu() + self.shortcut(x)).relu()")), "can only add"),
        (block((LAST, f"return {SECOND} + self.shortcut(x)")), "the ReLU after the sum is missing"),
        (block((LAST, f"return {SECOND}.relu()")), "the shortcut is not added"),
        (block((LAST, f"return {SECOND}")), "the shortcut is not added"),
        (block((FIRST, "norm1(self.conv1(x))")), "the ReLU after the first BatchNorm is missing"),
        (block((FIRST, "norm1(self.conv1(x).relu())")), "ReLU comes before BatchNorm"),
        (block((FIRST, FIRST[:-7]), ("shortcut(x)).relu()", "shortcut(x))")), "after the sum is missing; the ReLU aft"),
        (block((FIRST, "norm1(self.conv1(x))"), ("        self.shortcut = nn.Identity()\n", ZERO)),
         "the ReLU after the first BatchNorm is missing"),
        (block((SECOND, WITHOUT_GAMMA)), "is not used in forward"),
        (block((SECOND, "self.conv2(out)")), "is not used in forward"),
        (EMPTY.replace("return x.relu()", "x.relu()"), "forward returned None"),
        (block(("self.shortcut(x))", "self.shortcut(x).relu())")), "passes through a ReLU first"),
        (block(("+ self.shortcut(x)", "- self.shortcut(x)")), "compare line by line"),
        (block(("conv2 = nn.Conv2d(after, after, 3,", "conv2 = nn.Conv2d(after, after, 3, stride,")),
         "more than one convolution of the branch"),
        (block(("before, after, 3, stride,", "before, after, 3,"), ("(after, after, 3,", "(after, after, 3, stride,")),
         "the stride stands on the last"),
        (block(("before, after, 3, stride,", "before, after, 3,")), "no convolution of the branch has the stride"),
        (block(("after, 1, stride, bias", "after, 1, bias")), "the shortcut keeps the size and the branch does not"),
        (block((WHEN, "if before != after:")), "to 4 channels and stride 2 the projection is missing: the stride"),
        (block((WHEN, "if stride != 1:")), "for 4 to 6 channels and stride 1 the projection is missing: the number"),
        (block((WHEN, "if False:")), "for 4 to 6 channels and stride 2 the projection is missing"),
        (block((WHEN, "if True:")), "x fits as it is"),
        (block((WHEN, "self.unused = nn.Conv2d(before, after, 1, bias=False)\n        " + WHEN)), "x fits as it is"),
        (block(("after, 1, stride, bias", "after, 3, stride, padding=1, bias")), "the projection is a 3×3"),
        (block((PROJECTION, "nn.Conv2d(before, after, 1, stride, bias=False)")), "no BatchNorm in the projection"),
        (block((LAST, f"out = {SECOND}\n        x += out if out.shape == x.shape else 0\n        return x.relu()")),
         "you overwrote x"),
        (block(("        out = ", "        F.relu(x, inplace=True)\n        out = ")), "you overwrote x"),
        (block((", bias=False", "")), "a convolution has a bias"),
        (block(("after, 1, stride, bias=False", "after, 1, stride")), "a convolution has a bias"),
        (block(("after, 3, padding=1", "after, 3")), "needs padding=1 here, yours has 0"),
        (block(("        self.norm2 = nn.BatchNorm2d(after)\n", ""), ("self.norm2(", "self.norm1(")),
         "has a BatchNorm of its own"),
        (block(("BatchNorm2d", "InstanceNorm2d")), "has a BatchNorm of its own"),
        (block(("Conv2d(before, after, 3, stride", "Conv2d(before, before, 3, stride"),
               ("norm1 = nn.BatchNorm2d(after", "norm1 = nn.BatchNorm2d(before"),
               ("(after, after, 3", "(before, after, 3")),
         "expected the convolutions 3×3 from 4 to 6, 3×3 from 6 to 6, 1×1 from 4 to 6"),
        (block(("        super().__init__()\n", "")), "making the block for 4 to 4 channels and stride 1 raised"),
        (block(("stride=1", "stride")), "raised TypeError"),
        (block(("self.norm2(self", "self.norm3(self")), "raised AttributeError"),
        (block((LAST, LAST[7:])), "returned None"),
        (block(("shortcut(x)).relu()", "shortcut(x)).relu().flatten(1)")), "maps of shape (5, 4, 9, 8), got (5, 288)"),
        (EMPTY, "there is no nn.Conv2d"),
        (BLOCK + "\nResidualBlock = ResidualBlock(16, 16)", "without brackets"),
        ("ResidualBlock = 3", "expected the class itself"),
        ("def ResidualBlock(before, after, stride=1):\n    return []", "expected an nn.Module, got []"),
    ],
    "11/bottleneck": [
        (neck((f"{NORM}, {RELU}{CLOSING}", f"nn.BatchNorm2d(after), {RELU}nn.Conv2d(after, after, 1, "),
              (MIDDLE, "nn.Conv2d(narrow, after, 3, stride, padding=1, ")), "the 3×3 convolution widens"),
        (neck(("nn.BatchNorm2d(after),\n", "nn.BatchNorm2d(after), nn.ReLU(),\n")), "can only add"),
        (neck((SUM, "return self.branch(x) + self.shortcut(x)")), "the ReLU after the sum is missing"),
        (neck((SUM, "return self.branch(x).relu()")), "the shortcut is not added"),
        (neck((RELU + MIDDLE, MIDDLE)), "the ReLU after the first BatchNorm is missing"),
        (neck((RELU + CLOSING, CLOSING)), "the ReLU after the second BatchNorm is missing"),
        (neck((" nn.ReLU(),", "")), "the ReLUs inside the branch are missing"),
        (neck((f"{NORM}, nn.ReLU()", f"nn.ReLU(), {NORM}")), "ReLU comes before BatchNorm"),
        (neck((MIDDLE, MIDDLE_STAYS), (CLOSING, CLOSING + "stride, ")), "the stride stands on the last convolution"),
        (neck((OPENING, OPENING + "stride, ")), "more than one convolution of the branch"),
        (neck((MIDDLE, MIDDLE_STAYS)), "no convolution of the branch has the stride"),
        (neck(("before, after, 1, stride", "before, after, 1")), "the shortcut keeps the size"),
        (neck((WHEN, "if before != after:")), "for 6 to 6 channels and stride 2 the projection is missing"),
        (neck((WHEN, "if stride != 1:")), "for 6 to 8 channels and stride 1 the projection is missing"),
        (neck((WHEN, "if True:")), "x fits as it is"),
        (neck(("after, 1, stride", "after, 3, stride, padding=1")), "the projection is a 3×3"),
        (neck((PROJECTION, "nn.Conv2d(before, after, 1, stride, bias=False)")), "no BatchNorm in the projection"),
        (neck((OPENING, OPENING + "padding=1, ")), "a 1×1 convolution needs padding=0"),
        (neck((", bias=False", "")), "a convolution has a bias"),
        (neck(("nn.BatchNorm2d(after),\n        )", ")")), "has a BatchNorm of its own"),
        (neck((SUM, "x += self.branch(x)\n        return x.relu()")), "you overwrote x"),
        (neck((OPENING, "nn.Conv2d(before, narrow, 3, padding=1, "), (MIDDLE, "nn.Conv2d(narrow, narrow, 1, stride, ")),
         "expected the convolutions 1×1 from 6 to 3, 3×3 from 3 to 3, 1×1 from 3 to 6"),
        (BLOCK + "\nBottleneck = ResidualBlock", "got 3×3 from 6 to 3, 3×3 from 3 to 3"),
        (NECK + "\nBottleneck = Bottleneck(256, 64, 256)", "without brackets"),
    ],
    "11/negative_loss": [
        ('negative_loss = "a"', "more probable"),
        ('negative_loss = "b"', "taken twice"),
        ('negative_loss = "d"', "the same wrong loss"),
        ('negative_loss = "e"', "expected one of"),
    ],
    "11/blocks_for_56": [
        ("blocks_for_56 = 18", "a block has two of them"),
        ("blocks_for_56 = 27", "all three stages"),
        ("blocks_for_56 = 54", "divide them"),
        ("blocks_for_56 = 56 / 6", "outside the blocks"),
        ("blocks_for_56 = 10", "62 layers"),
        ("blocks_for_56 = '9'", "expected a number"),
    ],
    "11/resnet20_parameters": [
        ("resnet20_parameters = 268346", "BN's gamma and beta"),
        ("resnet20_parameters = 269722 - 688", "only one of"),
        ("resnet20_parameters = 270410", "biases before BN"),
        ("resnet20_parameters = 272474", "right for the projection (option B)"),
        ("resnet20_parameters = 269722 - 650", "the dense layer is missing"),
        ("resnet20_parameters = 0.27e6", "count exactly"),
        ("resnet20_parameters = 11e6", "ImageNet's widths"),
        ("resnet20_parameters = 11_173_962", "ImageNet's widths"),
        ("resnet20_parameters = 269723", "is not it"),
    ],
}  # fmt: skip

RIGHT = [
    ("11/residual_block", BLOCK),
    ("11/residual_block", BLOCK_BACKWARD),
    ("11/residual_block", block(("class ResidualBlock", "class Other"), ("=1):", "=1, bias=False):"))
     + "\ndef ResidualBlock(before, after, stride=1):\n    return Other(before, after, stride).double().eval()"),
    ("11/residual_block", block((LAST, AGAIN))),
    ("11/bottleneck", NECK),
    ("11/bottleneck", neck((MIDDLE, MIDDLE_STAYS), (OPENING, OPENING + "stride, "))),
    ("11/bottleneck", neck((" nn.ReLU(),", " nn.ReLU(inplace=True),"))),
    ("11/negative_loss", 'negative_loss = " C"'),
    ("11/blocks_for_56", "blocks_for_56 = torch.tensor(9.0)"),
    ("11/resnet20_parameters", "resnet20_parameters = np.int64(269722)"),
]  # fmt: skip

WRONG_ANSWERS = {name: [(IMPORTS + source, names) for source, names in answers] for name, answers in WRONG.items()}
OTHER_RIGHT_ANSWERS = [(name, IMPORTS + source) for name, source in RIGHT]
