from course_utils.exercises import module

BLOCK = """
class ResidualBlock(nn.Module):
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
        out = self.norm2(self.conv2(out))
        return (out + self.shortcut(x)).relu()
"""
NECK = """
class Bottleneck(nn.Module):
    def __init__(self, before, narrow, after, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(before, narrow, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(narrow)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(narrow)
        self.conv3 = nn.Conv2d(narrow, after, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(after)
        self.shortcut = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        out = self.norm1(self.conv1(x)).relu()
        out = self.norm2(self.conv2(out)).relu()
        out = self.norm3(self.conv3(out))
        return (out + self.shortcut(x)).relu()
"""
SLIPS = [
    ("the ReLU after the sum is missing", "shortcut(x)).relu()", "shortcut(x))"),
    ("a ReLU cuts the branch before the sum: then the block can only add, never take away", "(out +", "(out.relu() +"),
    ("the shortcut is not added: out = F(x) + x", " + self.shortcut(x)", ""),
    ("x is added, but passes through a ReLU first: the shortcut takes it as it is", "cut(x)", "cut(x).relu()"),
    ("the ReLU after the first BatchNorm is missing", "conv1(x)).relu()", "conv1(x))"),
    ("the projection is missing where the stride changes, so x does not fit", "stride != 1 or ", ""),
    ("the projection is missing where the number of channels changes, so x does not fit", " or before != after", ""),
    ("x fits as it is: make the projection only where channels or size change", "stride != 1 or", "True or"),
    ("the projection is a 3×3 convolution: 1×1 brings x to the new shape with a ninth of the weights",
     "after, 1, stride,", "after, 3, stride, padding=1,"),
    ("there is no BatchNorm in the projection: its 1×1 convolution is followed by one too",
     "bias=False), nn.BatchNorm2d(after))", "bias=False))"),
    ("the 1×1 convolution of the shortcut needs the stride as well", "after, 1, stride,", "after, 1,"),
    ("convolutions have a bias: BatchNorm takes the mean away right after it, so write bias=False", ", bias=False", ""),
    ("you overwrote x: an operation in place changed what the shortcut still needs",
     "        return", "        x += out\n        return x.relu()\n        return"),
]  # fmt: skip

residual_block = module(
    right=BLOCK,
    cases=[((4, 4), (5, 4, 9, 8)), ((4, 6, 2), (5, 4, 9, 8)), ((4, 6), (5, 4, 9, 8)), ((4, 4, 2), (5, 4, 9, 8))],
    slips=[
        *SLIPS,
        ("ReLU comes before BatchNorm: the order is convolution, BatchNorm, ReLU", "1(x)).relu()", "1(x).relu())"),
        ("more than one convolution of the branch has the stride: each of them divides the size again",
         "after, after, 3,", "after, after, 3, stride,"),
        ("no convolution of the branch has the stride", "after, 3, stride,", "after, 3,"),
        ("the stride stands on the last convolution: an earlier one makes the maps small for the rest",
         "before, after, 3, stride,", "before, after, 3,", "after, after, 3,", "after, after, 3, stride,"),
        ("the second BatchNorm is not used in forward", "self.norm2(self.conv2(out))", "self.conv2(out)"),
        ("a 3×3 convolution needs padding=1 here", "after, 3, padding=1", "after, 3"),
    ],
    praise="Equal to the reference in training and eval mode, for every change of channels and size.",
)  # fmt: skip

bottleneck = module(
    right=NECK,
    cases=[((6, 3, 6), (5, 6, 9, 8)), ((6, 3, 8, 2), (5, 6, 9, 8)), ((6, 3, 8), (5, 6, 9, 8)), ((6, 3, 6, 2), (5, 6, 9, 8))],
    slips=[
        ("", "narrow, 1, bias", "narrow, 1, stride, bias", "narrow, 3, stride,", "narrow, 3,"),  # the paper's: right too
        *SLIPS,
        ("the 3×3 convolution widens the maps: keep it narrow, the last 1×1 goes back to many channels",
         "narrow, narrow, 3", "narrow, after, 3", "norm2 = nn.BatchNorm2d(narrow)", "norm2 = nn.BatchNorm2d(after)",
         "narrow, after, 1", "after, after, 1"),
        ("the ReLU after the second BatchNorm is missing", "conv2(out)).relu()", "conv2(out))"),
        ("ReLU comes before BatchNorm: the order is convolution, BatchNorm, ReLU", "1(x)).relu()", "1(x).relu())",
         "2(out)).relu()", "2(out).relu())"),
        ("more than one convolution of the branch has the stride", "narrow, 1, bias", "narrow, 1, stride, bias"),
        ("no convolution of the branch has the stride", "narrow, 3, stride,", "narrow, 3,"),
        ("the stride stands on the last convolution: an earlier one makes the maps small for the rest",
         "narrow, 3, stride,", "narrow, 3,", "narrow, after, 1,", "narrow, after, 1, stride,"),
    ],
    praise="Equal to the reference in training and eval mode: narrow in the middle, wide at both ends. (The stride may "
    "stand in the 3×3, as in torchvision, or in the first 1×1, as in the paper.)",
)  # fmt: skip
