"""Chapter 07: wrong answers that no slip makes, with a piece of their message, and right ones in unusual forms."""

from answers import changed

NORM = """def batch_norm(x, gamma, beta, eps):
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    variance = x.var(dim=(0, 2, 3), keepdim=True, correction=0)
    normalized = (x - mean) / (variance + eps).sqrt()
    return gamma[:, None, None] * normalized + beta[:, None, None]"""
VARIANCE = "x.var(dim=(0, 2, 3), keepdim=True, correction=0)"
ROOT = "(variance + eps).sqrt()"

IN_PLACE = """def batch_norm(x, gamma, beta, eps):
    x -= x.mean(dim=(0, 2, 3), keepdim=True)
    variance = (x ** 2).mean(dim=(0, 2, 3), keepdim=True)
    return gamma.view(1, -1, 1, 1) * x / (variance + eps).sqrt() + beta.view(1, -1, 1, 1)"""

ROWS = """def batch_norm(x, gamma, beta, eps):
    B, C, H, W = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(-1, C)
    rows = (rows - rows.mean(0)) / torch.sqrt(rows.var(0, unbiased=False) + eps)
    return (rows * gamma + beta).reshape(B, H, W, C).permute(0, 3, 1, 2)"""

LOOP = """def batch_norm(x, gamma, beta, eps):
    out = torch.empty_like(x)
    for c in range(x.shape[1]):
        values = x[:, c]
        variance = ((values - values.mean()) ** 2).mean()
        out[:, c] = gamma[c] * (values - values.mean()) * (variance + eps) ** -0.5 + beta[c]
    return out"""

RUNNING = """def running_update(running_mean, running_var, x, momentum):
    x = x.detach()
    mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3))
    new_mean = (1 - momentum) * running_mean + momentum * mean
    new_var = (1 - momentum) * running_var + momentum * variance
    return new_mean, new_var"""
DETACHED, BACK = "    x = x.detach()\n", "return new_mean, new_var"
SWAPPED = (
    "(1 - momentum) * running_mean + momentum *", "momentum * running_mean + (1 - momentum) *",
    "(1 - momentum) * running_var + momentum *", "momentum * running_var + (1 - momentum) *",
)  # fmt: skip

RUNNING_IN_PLACE = """def running_update(running_mean, running_var, x, momentum):
    with torch.no_grad():
        running_mean.lerp_(x.mean(dim=(0, 2, 3)), momentum)
        running_var.lerp_(x.var(dim=(0, 2, 3)), momentum)
    return running_mean, running_var"""

GROUP = """def group_norm(x, groups, eps):
    B, C, H, W = x.shape
    parts = x.view(B, groups, C // groups, H, W)
    mean = parts.mean(dim=(2, 3, 4), keepdim=True)
    variance = parts.var(dim=(2, 3, 4), keepdim=True, correction=0)
    out = (parts - mean) / (variance + eps).sqrt()
    return out.view(B, C, H, W)"""
GROUP_VARIANCE = "parts.var(dim=(2, 3, 4), keepdim=True, correction=0)"

FOLD = """def fold(conv, norm):
    new = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, stride=conv.stride, padding=conv.padding,
        dilation=conv.dilation, groups=conv.groups, bias=True,
    )
    sigma = (norm.running_var + norm.eps).sqrt()
    bias = 0 if conv.bias is None else conv.bias
    with torch.no_grad():
        new.weight.copy_(conv.weight * (norm.weight / sigma)[:, None, None, None])
        new.bias.copy_(norm.weight * (bias - norm.running_mean) / sigma + norm.bias)
    return new"""
SIGMA = "sigma = (norm.running_var + norm.eps).sqrt()"
NEW_BIAS = "norm.weight * (bias - norm.running_mean) / sigma + norm.bias"

FOLD_COPY = """def fold(conv, norm):
    new = copy.deepcopy(conv)
    scale = norm.weight.data * torch.rsqrt(norm.running_var + norm.eps)
    new.weight.data = torch.einsum("nckl,n->nckl", conv.weight.data, scale)
    old = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.data
    new.bias = nn.Parameter(torch.addcmul(norm.bias.data, old - norm.running_mean, scale))
    return new"""

FOLD_IN_PLACE = """def fold(conv, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = 0 if conv.bias is None else conv.bias
    conv.weight = nn.Parameter(conv.weight * scale.view(-1, 1, 1, 1))
    conv.bias = nn.Parameter((bias - norm.running_mean) * scale + norm.bias)
    return conv"""


def normed(*pairs: str) -> str:
    return changed(NORM, *pairs)


def updated(*pairs: str) -> str:
    return changed(RUNNING, *pairs)


def grouped(*pairs: str) -> str:
    return changed(GROUP, *pairs)


def folded(*pairs: str) -> str:
    return changed(FOLD, *pairs)


WRONG = {
    "07/batch_norm": [
        (normed(VARIANCE, VARIANCE.replace(", correction=0", ", unbiased=True")), "divides by n, not n − 1"),
        (normed(", correction=0", "", ROOT, "(variance.sqrt() + eps)"), "under the root: divide by sqrt(variance + ε)"),
        (normed(VARIANCE, "x.std(dim=(0, 2, 3), keepdim=True)", ROOT, "(variance + eps)"), "under the root"),
        (normed(VARIANCE, VARIANCE.replace(", keepdim=True", "")), "keepdim=True keeps an axis of 1"),
        (normed("(0, 2, 3)", "0", ", correction=0", ""), "averaged per pixel"),
        (normed("(0, 2, 3)", "(-2, -1)", ", correction=0", ""), "averaged per image"),
        (normed("(0, 2, 3)", "1"), "averaged over the channels"),
        (normed("gamma[:, None, None] * normalized + beta", "beta[:, None, None] * normalized + gamma"), "swapped"),
        (normed("gamma[:, None, None]", "gamma"), "raised RuntimeError"),
        (normed(VARIANCE, f"{VARIANCE}.detach()"), "the gradient with respect to x is not"),
        (normed("mean(dim=(0, 2, 3), keepdim=True)", "detach().mean(dim=(0, 2, 3), keepdim=True)"),
         "the gradient with respect to x is not"),
        (normed("    mean =", "    with torch.no_grad():\n        mean =", "    variance =", "        variance ="),
         "the value is right, the gradient"),
        (normed("gamma[", "gamma.data["), "with respect to gamma is not"),
        (normed("beta[", "beta.detach()["), "with respect to beta is not"),
        ("@torch.no_grad()\n" + NORM, "the value is right, the gradient"),
        (normed("return gamma", "return torch.tensor(1.0) * gamma", "x.mean(", "torch.tensor(x.numpy()).mean("),
         "the gradient is not: it raised RuntimeError"),
        (IN_PLACE, "x itself has changed"),
        (normed("    return gamma[:, None, None]", "    gamma[:, None, None]"), "is the return missing"),
        (normed("return gamma[:, None, None] * normalized + beta[:, None, None]", "return mean"),
         "expected float32 (4, 3, 2, 5), got tensor(["),
        ("batch_norm = nn.BatchNorm2d", "raised"),
        ("def batch_norm(x, gamma, beta, eps):\n"
         "    return F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)", "write it without"),
        (normed("eps).sqrt()", "1e-5).sqrt()"), "use the argument eps"),
        ("batch_norm = 7", "expected a function"),
    ],
    "07/running_update": [
        (updated(DETACHED, "    x, momentum = x.detach(), 0.1\n"), "use `momentum`"),
        (updated(BACK, "return new_mean"), "return two"),
        (updated(*SWAPPED, "x.var(dim=(0, 2, 3))", "x.var(dim=(0, 2, 3), correction=0)"), "unbiased estimate"),
        (updated("x.var(dim=(0, 2, 3))", "x.var(dim=(0, 2, 3), unbiased=False)"), "unbiased estimate"),
        (updated("(1 - momentum) * running_mean", "running_mean", "(1 - momentum) * running_var", "running_var",
                 "var(dim=(0, 2, 3)", "var(dim=(0, 2, 3), correction=0"), "must lose"),
        (updated("(0, 2, 3)", "(0, 2, 3), keepdim=True", "x.var(", "x.var(correction=0, "), "keepdim makes"),
        (updated("x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3))", "x.mean(), x.var()"), "one number for all channels"),
        (updated(BACK, "return new_var, new_mean"), "wrong order"),
        (updated(BACK, "return new_mean, running_var"), "variance has not moved"),
        (updated(BACK, "return new_mean.numpy(), new_var.numpy()"), "they come as ndarray: return a tensor"),
        (updated(DETACHED, ""), "a graph hangs"),
        (updated(DETACHED, "", "x.mean", "x.detach().mean"), "a graph hangs"),
        (RUNNING_IN_PLACE, "running_mean itself has changed"),
        (changed(RUNNING_IN_PLACE, "running_mean.lerp_", "running_mean = running_mean.lerp"),
         "running_var itself has changed"),
        (updated(DETACHED, "    x = torch.tensor(x.numpy())\n"), "inside a network x has a graph"),
        (updated("    return new_mean, new_var", "    pass"), "is the return missing"),
        (updated("(0, 2, 3)", "(2, 3)"), "part 1 of 2: expected tensor(["),
        ("def running_update(running_mean, running_var, x, momentum):\n"
         "    norm = nn.BatchNorm2d(x.shape[1], momentum=momentum)\n    norm.running_mean.copy_(running_mean)\n"
         "    norm.running_var.copy_(running_var)\n    norm(x)\n    return norm.running_mean, norm.running_var",
         "batch_norm does this exercise's work"),
    ],
    "07/spot_evaluate": [("spot_evaluate = 2", "expected one of")],
    "07/group_norm": [
        ("def group_norm(x, groups, eps):\n    return F.group_norm(x, groups, eps=eps)", "write it without"),
        (grouped("variance + eps", "variance + 1e-5"), "use the argument eps"),
        (grouped("return out.view(B, C, H, W)", "return out"), "expected float32 (3, 4, 2, 5), got float32 (3, 2, 2"),
        (grouped(", correction=0", ""), "divides by n, not n − 1"),
        (grouped(GROUP_VARIANCE, "parts.std(dim=(2, 3, 4), keepdim=True)", "(variance + eps).sqrt()",
                 "(variance + eps)"), "under the root"),
        (grouped("(2, 3, 4)", "(1, 2, 3, 4)"), "this is LayerNorm"),
        (grouped("(2, 3, 4)", "(3, 4)", ", correction=0", ""), "this is InstanceNorm"),
        (grouped("(2, 3, 4)", "(0, 3, 4)"), "this is BatchNorm"),
        (grouped("(2, 3, 4)", "(0, 2, 3, 4)"), "runs over the images too"),
        (grouped("view(B, groups, C // groups", "view(B, C // groups, groups", "(2, 3, 4)", "(1, 3, 4)"), "mixed"),
        (grouped("view(B, groups, C // groups", "view(B, C // groups, groups"), "not the number of channels in each"),
        (grouped("return out.view(B, C, H, W)", "return out.view(B, groups, -1)"), "in parts"),
        (grouped("    parts =", "    x -= x.mean()\n    parts ="), "x itself has changed"),
        (grouped("return out.view(B, C, H, W)", "out.view(B, C, H, W)"), "is the return missing"),
        (grouped("(2, 3, 4)", "(2, 3)"), "the shape (3, 4, 2, 5) is right; at [0, 0, 0, 0] expected"),
        (grouped("view(B, groups, C // groups, H, W)", "view(B, groups, H, W, C // groups)", "(2, 3, 4)", "4"),
         "the numbers differ"),
    ],
    "07/c5_setting": [("c5_setting = None", "expected one of")],
    "07/fold": [
        (folded(NEW_BIAS, "norm.bias - norm.weight * norm.running_mean / sigma"), "own bias is lost"),
        (folded(SIGMA, "sigma = norm.running_var"), "divided by σ²"),
        (folded(SIGMA, "sigma = norm.running_var.sqrt() + norm.eps"), "under the root"),
        (folded("norm.eps", "1e-5"), "or another one"),
        (folded(SIGMA, "sigma = 1 / (norm.running_var + norm.eps).sqrt()"), "multiplied by σ"),
        (folded("(norm.weight / sigma)", "(1 / sigma)", "norm.weight * (bias", "(bias"), "γ is forgotten"),
        (folded("(bias - norm.running_mean) / sigma", "bias / sigma - norm.running_mean"), "mean is multiplied"),
        (folded(NEW_BIAS, "torch.as_tensor(bias)"), "bias is not yet"),
        (folded("[:, None, None, None]", "[None, :, None, None]"), "wrong axis"),
        (folded("stride=conv.stride, ", ""), "stride is not taken over"),
        (folded("padding=conv.padding,", ""), "padding is not taken over"),
        (folded("groups=conv.groups, ", ""), "groups are not taken over"),
        (folded("bias=True", "bias=False", f"        new.bias.copy_({NEW_BIAS})\n", ""), "has no bias"),
        (folded("    with torch.no_grad():\n", "    if True:\n"), "raised RuntimeError"),
        (folded("bias = 0 if conv.bias is None else conv.bias", "bias = conv.bias"), "raised TypeError"),
        (folded("bias = 0 if conv.bias is None else conv.bias", "bias = conv.bias"), "a layer that has none"),
        (folded("new.weight.copy_(", "new.weight = ("), "cannot take a parameter's place"),
        (folded("new.bias.copy_(", "new.bias = ("), "cannot take a parameter's place"),
        (FOLD_IN_PLACE, "layers that came in have changed"),
        (folded("    with torch", "    norm.eval()\n    with torch"), "are in eval mode now"),
        ("def fold(conv, norm):\n    return nn.Sequential(conv, norm).eval()", "expected 'Conv2d', got 'Sequential'"),
        ("def fold(conv, norm):\n    return conv.weight, conv.bias", "expected 'Conv2d', got 'tuple'"),
        ("def fold(conv, norm):\n    return nn.utils.fuse_conv_bn_eval(conv, norm)", "by hand, please"),
        ("def fold(conv, norm):\n"
         "    conv, norm = copy.deepcopy(conv).eval(), copy.deepcopy(norm).eval()\n"
         "    return torch.nn.utils.fusion.fuse_conv_bn_eval(conv, norm)", "by hand, please"),
        ("fold = nn.utils.fuse_conv_bn_eval", "by hand, please"),
        ("def fold(conv, norm):\n    return conv", "the convolution as it was"),
        (folded("    return new", "    pass"), "is the return missing"),
        (folded("norm.weight / sigma", "norm.weight / sigma + 1"), "the shape (2, 4, 8, 9) is right"),
        ("fold = nn.Identity()", "raised TypeError"),
        ("fold = 1", "expected a function"),
    ],
}  # fmt: skip

RIGHT = [
    ("07/batch_norm", NORM),
    ("07/batch_norm", ROWS),
    ("07/batch_norm", LOOP),
    ("07/batch_norm", normed(VARIANCE, "x.square().mean(dim=(0, 2, 3), keepdim=True) - mean.square()")),
    ("07/batch_norm", normed(VARIANCE, "x.double().var(dim=(0, 2, 3), keepdim=True, unbiased=False)")),
    ("07/running_update", RUNNING),
    ("07/running_update", "@torch.no_grad()\n" + updated(DETACHED, "")),
    ("07/running_update", updated(BACK, "return [new_mean, new_var]")),
    ("07/running_update", "def running_update(running_mean, running_var, x, momentum):\n"
     "    x = x.detach().transpose(0, 1).flatten(1)\n"
     "    return running_mean.lerp(x.mean(dim=1), momentum), running_var.lerp(x.var(dim=1), momentum)"),
    ("07/group_norm", GROUP),
    ("07/group_norm", "def group_norm(x, groups, eps):\n    parts = []\n    for part in x.chunk(groups, dim=1):\n"
     "        mean = part.mean(dim=(1, 2, 3), keepdim=True)\n"
     "        variance = part.var(dim=(1, 2, 3), keepdim=True, correction=0)\n"
     "        parts.append((part - mean) / torch.sqrt(variance + eps))\n    return torch.cat(parts, dim=1)"),
    ("07/fold", FOLD),
    ("07/fold", FOLD_COPY),
    ("07/spot_evaluate", 'spot_evaluate = "B"'),
    ("07/c5_setting", 'c5_setting = " c "'),
]  # fmt: skip
