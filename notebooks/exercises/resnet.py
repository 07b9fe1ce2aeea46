"""Chapter 11's exercises: residual block, paths, bottleneck, a negative loss, depth and size of ResNets."""

from course_utils.exercises import choice, module, value

ruled_out = choice(
    right='ruled_out = "a"',
    wrong={
        "b": "all three had the same 156 steps: the picture cannot say what more of them would do. The next cell asks",
        "c": "all three had the same rate: another one might suit the deepest network better. Section 7 tries",
        "d": "perhaps all random starts are bad for many layers: the picture shows one kind of start only",
    },
    praise="Over-fitting: few errors on the training digits, many on new ones. Here the training error itself is high.",
)

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
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False),
                nn.BatchNorm2d(after),
            )

    def forward(self, x):
        out = self.norm1(self.conv1(x)).relu()  # (B, after, H/stride, W/stride)
        return (self.norm2(self.conv2(out)) + self.shortcut(x)).relu()
"""
NECK = """
class Bottleneck(nn.Module):
    def __init__(self, before, narrow, after, stride=1):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(before, narrow, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False),
                nn.BatchNorm2d(after),
            )

    def forward(self, x):
        return (self.branch(x) + self.shortcut(x)).relu()
"""
X = (5, 4, 9, 8)  # the first block needs no projection; the others need it for both reasons, channels, and stride
SIZES = [((4, 4), X), ((4, 6, 2), X), ((4, 6), X), ((4, 4, 2), X)]
NECK_SIZES = [((4, 3, 4), X), ((4, 3, 8, 2), X), ((4, 3, 8), X), ((4, 3, 4, 2), X)]

CUT = "a ReLU cuts the branch before the sum: then the block can only add, never take away"
ORDER = "ReLU comes before BatchNorm: the order is convolution, BatchNorm, ReLU"
BIAS = "a convolution has a bias: BatchNorm takes the mean away right after it, so write bias=False"
SEVERAL = "more than one convolution of the branch has the stride: each of them divides the size again"
LATE = "the stride stands on the last convolution: an earlier one makes the maps small for the rest"
OVERWRITTEN = "you overwrote x: an operation in place (inplace=True, +=, relu_) changed what the shortcut still needs"
RENAMED = "x stands for something else when it is added: keep the block's input, and call the branch's result out"
MISSING = "the projection is missing: the {} changes, so x does not fit"
NEEDS_ZERO = "a 1×1 convolution needs padding=0 here, a 3×3 one padding=1"

SHARED = [
    ("the ReLU after the sum is missing", "shortcut(x)).relu()", "shortcut(x))"),
    ("the shortcut is not added: out = F(x) + x", " + self.shortcut(x)", ""),
    ("x is subtracted: out = F(x) + x", "+ self.shortcut", "- self.shortcut"),
    ("x is added, but passes through a ReLU first: the shortcut takes it as it is",
     "shortcut(x)", "shortcut(x).relu()"),
    (MISSING.format("stride"), "stride != 1 or ", ""),
    (MISSING.format("number of channels"), " or before != after", ""),
    (MISSING.format("shape"), "if stride != 1 or before != after", "if False"),
    ("x fits as it is: make the projection only where channels or size change", "stride != 1 or", "True or"),
    ("the projection is a 3×3 convolution: 1×1 brings x to the new shape with a ninth of the weights",
     "after, 1, stride,", "after, 3, stride, padding=1,"),
    ("there is no BatchNorm in the projection: its 1×1 convolution is followed by one too",
     "                nn.BatchNorm2d(after),\n", ""),
    ("the shortcut keeps the size and the branch does not: the 1×1 convolution needs the stride as well",
     "after, 1, stride,", "after, 1,"),
    (BIAS, ", bias=False", ""),
    (BIAS, "1, stride, bias=False", "1, stride"),
    (OVERWRITTEN, "    def forward(self, x):\n", "    def forward(self, x):\n        x.relu_()\n"),
]  # fmt: skip

residual_block = module(
    right=BLOCK,
    cases=SIZES,
    slips=[
        *SHARED,
        (CUT, "conv2(out)) +", "conv2(out)).relu() +"),
        (ORDER, "conv1(x)).relu()", "conv1(x).relu())"),
        ("the ReLU after the first BatchNorm is missing", "conv1(x)).relu()", "conv1(x))"),
        ("a BatchNorm that __init__ makes is not used in forward", "self.norm2(self.conv2(out))", "self.conv2(out)"),
        ("one BatchNorm serves two convolutions: each convolution has a BatchNorm of its own",
         "        self.norm2 = nn.BatchNorm2d(after)\n", "", "self.norm2(", "self.norm1("),
        ("each convolution has a BatchNorm of its own, not another norm", "BatchNorm2d", "InstanceNorm2d"),
        (SEVERAL, "after, after, 3,", "after, after, 3, stride,"),
        ("no convolution of the branch has the stride", "before, after, 3, stride,", "before, after, 3,"),
        (LATE, "before, after, 3, stride,", "before, after, 3,", "after, after, 3,", "after, after, 3, stride,"),
        (OVERWRITTEN, "return (self.norm2(self.conv2(out)) + self.shortcut(x)).relu()",
         "out = self.norm2(self.conv2(out))\n        x += out if out.shape == x.shape else 0\n        return x.relu()"),
        (RENAMED, "out = self", "x = self", "conv2(out)", "conv2(x)"),
        (RENAMED, "return (self.norm2(self.conv2(out)) +", "x = self.norm2(self.conv2(out))\n        return (x +"),
        ("a 3×3 convolution needs padding=1 here", "after, 3, padding=1", "after, 3"),
        ("a 3×3 convolution needs padding=1 here", "after, 3, stride, padding=1", "after, 3, stride"),
    ],
    praise="Equal to the reference in training and eval mode, for every change of channels and size.",
)  # fmt: skip

paths_left = value(
    right="paths_left = 2 ** (10 - 1)",
    slips=[
        ("that is before the block is taken out: each path that went through it is gone", 1024),
        ("more than one path is gone: all that went through this block, whatever they did at the other nine", 1023),
        ("that is a plain network's only path, which is cut: here x passes by the missing block", 0),
        ("these are the blocks that are left: at each of them a path has two ways", 9),
        ("two ways at each block multiply: 2 · 2 · …, not 2 + 2 + …", 18),
        ("two ways at each block multiply: 2 · 2 · …, not 9 · 9", 81),
        ("one block is gone, not two", 256),
    ],
    praise="Half of them: each of the 512 paths around the block had a twin through it.",
)

FIRST, MIDDLE = "nn.Conv2d(before, narrow, 1,", "nn.Conv2d(narrow, narrow, 3, stride,"
NORM, RELU = "nn.BatchNorm2d(narrow),\n            ", "nn.ReLU(),\n            "
FROM_FIRST = (
    "the stride stands on the first 1×1 (the paper's place), where three pixels of four are never read: the task "
    "puts it on the 3×3, which reads them all"
)

bottleneck = module(
    right=NECK,
    cases=NECK_SIZES,
    slips=[
        (FROM_FIRST, FIRST, f"{FIRST} stride,", MIDDLE, "nn.Conv2d(narrow, narrow, 3,"),
        *SHARED,
        (CUT, "self.branch(x) +", "self.branch(x).relu() +"),
        (ORDER, f"{NORM}{RELU}", f"{RELU}{NORM}"),
        ("the ReLU after the first BatchNorm is missing", f"{RELU}{MIDDLE}", MIDDLE),
        ("the ReLU after the second BatchNorm is missing",
         f"{RELU}nn.Conv2d(narrow, after,", "nn.Conv2d(narrow, after,"),
        ("the ReLUs inside the branch are missing", RELU, ""),
        ("the 3×3 convolution widens the maps: keep it narrow, the last 1×1 goes back to many channels",
         f"{MIDDLE} padding=1, bias=False),\n            nn.BatchNorm2d(narrow)",
         "nn.Conv2d(narrow, after, 3, stride, padding=1, bias=False),\n            nn.BatchNorm2d(after)",
         "nn.Conv2d(narrow, after, 1,", "nn.Conv2d(after, after, 1,"),
        ("the last convolution has a BatchNorm of its own too",
         "\n            nn.BatchNorm2d(after),\n        )", "\n        )"),
        (SEVERAL, FIRST, f"{FIRST} stride,"),
        ("no convolution of the branch has the stride", MIDDLE, "nn.Conv2d(narrow, narrow, 3,"),
        (LATE, MIDDLE, "nn.Conv2d(narrow, narrow, 3,", "narrow, after, 1,", "narrow, after, 1, stride,"),
        (OVERWRITTEN, "return (self.branch(x) + self.shortcut(x)).relu()",
         "x += self.branch(x)\n        return x.relu()"),
        (RENAMED, "return (self.branch(x) +", "x = self.branch(x)\n        return (x +"),
        (NEEDS_ZERO, FIRST, f"{FIRST} padding=1,"),
        (NEEDS_ZERO, "stride, padding=1", "stride"),
    ],
    praise="Equal to the reference in training and eval mode: narrow in the middle, wide at both ends.",
)  # fmt: skip

negative_loss = choice(
    right='negative_loss = "c"',
    wrong={
        "a": "the absolute value grows as the right class gets more probable: training would then make it improbable",
        "b": "cross-entropy takes the softmax itself: on a softmax it is taken twice, and the gradient fades",
        "d": "a smaller learning rate follows the same wrong loss more slowly",
    },
    praise="Cross-entropy takes logits. NLLLoss on log_softmax is the same; log of a softmax too, but less stable.",
)

blocks_for_56 = value(
    right="blocks_for_56 = (56 - 2) // 6",
    slips=[
        ("that counts the layers of a stage: a block has two of them", "// 6", "// 3"),
        ("that counts the blocks of all three stages: n is the number in one of them", "// 6", "// 2"),
        ("these are the layers in the blocks: divide them by three stages of two layers a block", " // 6", ""),
        ("two of the 56 layers stand outside the blocks: the first convolution and the dense layer", 56 / 6),
        ("10 blocks a stage make 62 layers", 10),
        ("8 blocks a stage make 50 layers", 8),
    ],
    praise="6 · 9 + 2 = 56.",
)

IMAGENET = "that is a network of ImageNet's widths (64 to 512 channels): here they are 16, 32 and 64"

resnet20_parameters = value(
    right="""
stages = 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64
convolutions = 9 * (3 * 16 + stages)
norms = 2 * (16 + 6 * 16 + 6 * 32 + 6 * 64)
resnet20_parameters = convolutions + norms + 64 * 10 + 10
""",
    slips=[
        ("BN's gamma and beta are missing: two for each of its 688 channels", " + norms", ""),
        ("only one of BN's gamma and beta is counted: there are two for each channel", "norms = 2 *", "norms = 1 *"),
        ("biases before BN are counted: these convolutions have none", "norms = 2 *", "norms = 3 *"),
        ("right for the projection (option B): here the shortcuts slice and pad, without parameters", 272_474),
        ("the shortcuts are projections without BatchNorm: here they slice and pad, without parameters", 272_282),
        ("that is for one input channel: CIFAR-10's pictures have three", "3 * 16 +", "1 * 16 +"),
        ("the first convolution is missing: 3 → 16, with its BatchNorm", "3 * 16 + ", ""),
        ("the first convolution is missing: 3 → 16, with its BatchNorm", "3 * 16 + ", "", "(16 + 6", "(6"),
        ("the convolution into the second stage is missing: 16 → 32", " + 16 * 32", ""),
        ("the convolution into the third stage is missing: 32 → 64", " + 32 * 64", ""),
        ("the dense layer is missing: 64 · 10 + 10", " + 64 * 10 + 10", ""),
        ("the dense layer's 10 biases are missing", "10 + 10", "10"),
        ("that is the paper's 0.27 million: count exactly", 270_000),
        *((IMAGENET, count) for count in (11_000_000, 11_173_962, 11_181_642, 11_689_512)),
    ],
    praise="267 696 weights of convolutions, 1376 of BatchNorm, 650 of the dense layer: a fortieth of ResNet-18's 11 "
    "million.",
)
