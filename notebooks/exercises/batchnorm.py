import torch

from course_utils.exercises import function, keeps_its_inputs, same_gradients

NORM = """
def batch_norm(x, gamma, beta, eps):
    mean = x.mean(dim=(0, 2, 3), keepdim=True)  # (1, C, 1, 1)
    variance = x.var(dim=(0, 2, 3), keepdim=True, correction=0)  # (1, C, 1, 1)
    normalized = (x - mean) / (variance + eps).sqrt()  # (B, C, H, W)
    return gamma.view(1, -1, 1, 1) * normalized + beta.view(1, -1, 1, 1)
"""
GAMMA, BETA = "gamma.view(1, -1, 1, 1)", "beta.view(1, -1, 1, 1)"


def norm_cases(generator):
    """Few numbers a channel, so that n and n − 1 differ, and ε of all sizes; the last has a constant channel."""
    cases = []
    for shape, eps in (((4, 3, 2, 5), 0.1), ((2, 5, 3, 4), 1.0), ((3, 4, 5, 2), 1e-3)):
        x = 2 * torch.randn(shape, generator=generator) + torch.randn((1, shape[1], 1, 1), generator=generator)
        cases.append((x, *torch.randn((2, shape[1]), generator=generator), eps))
    cases[-1][0][:, 1] = 2.0
    return cases


batch_norm = function(
    right=NORM,
    cases=norm_cases,
    slips=[
        ("the batch divides by n, not n − 1: var(…, correction=0)", "correction=0", "correction=1"),
        ("ε stands under the root: divide by sqrt(variance + ε), not by sqrt(variance) + ε",
         "(variance + eps).sqrt()", "(variance.sqrt() + eps)"),
        ("ε is missing: a channel that is constant divides by 0", "(variance + eps)", "variance"),
        ("you divided by the variance: divide by its square root", "eps).sqrt()", "eps)"),
        ("this is averaged per pixel: one mean for each channel runs over images, rows and columns, dim=(0, 2, 3)",
         "(0, 2, 3)", "(0,)"),
        ("this is averaged per image: the mean of a channel runs over all images too, dim=(0, 2, 3)",
         "(0, 2, 3)", "(2, 3)"),
        ("this is LayerNorm, one mean for each image: one for each channel is dim=(0, 2, 3)", "(0, 2, 3)", "(1, 2, 3)"),
        ("this is averaged over the channels: one mean for each channel is dim=(0, 2, 3)", "(0, 2, 3)", "(1,)"),
        ("this is one mean for all channels: one for each channel is dim=(0, 2, 3)", "(0, 2, 3)", "(0, 1, 2, 3)"),
        ("γ and β are not used: y = γ·x̂ + β", f"{GAMMA} * normalized + {BETA}", "normalized"),
        ("γ is not used: y = γ·x̂ + β", f"{GAMMA} * ", ""),
        ("β is not used: y = γ·x̂ + β", f" + {BETA}", ""),
        ("γ and β are swapped: γ multiplies, β is added",
         f"{GAMMA} * normalized + {BETA}", f"{BETA} * normalized + {GAMMA}"),
        ("β is multiplied by γ: add it after the multiplication, γ·x̂ + β",
         f"normalized + {BETA}", f"(normalized + {BETA})"),
        ("the mean is not subtracted: (x − mean) / sqrt(variance + ε)", "(x - mean)", "x"),
    ],
    laws=[keeps_its_inputs, same_gradients("x", "gamma", "beta")],
    praise="Equal to torch's own in value and in all three gradients.",
)  # fmt: skip
