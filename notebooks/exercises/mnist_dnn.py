"""Chapter 03's exercises: standardizing, cross-entropy, accuracy over batches, collating, momentum, two bugs."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from course_utils.exercises import choice, function, untouched


def image_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Draw training and test images, uint8; so many pixels that dividing by n or by n − 1 makes no difference."""
    draw = partial(torch.rand, generator=generator)
    train = [255 * draw(count, 1, 1, 1) * draw(count, 1, 28, 28) for count in (80, 200)]
    return [(images.byte(), (200 * draw(len(images) // 2, 1, 28, 28)).byte()) for images in train]


SCALED = "train, test = train_images / 255, test_images / 255"
BOTH = "(train - mean) / std, (test - mean) / std"

standardize = function(
    right=f"""
def standardize(train_images, test_images):
    {SCALED}
    mean, std = train.mean(), train.std()
    return {BOTH}
""",
    cases=image_cases,
    slips=[
        ("one standard deviation over all pixels of all images, not a mean of the images' own",
         "train.std()", "torch.stack([image.std() for image in train]).mean()"),
        ("you divided by the variance: divide by the standard deviation", "train.std()", "train.var()"),
        ("the test images got their own mean and deviation: use the training statistics for both",
         "(test - mean) / std", "(test - test.mean()) / test.std()"),
        ("the statistics are those of all images together: use the training images' for both",
         "train.mean(), train.std()", "torch.cat([train, test]).mean(), torch.cat([train, test]).std()"),
        ("the test images are still on another scale: do the same to them as to the training images",
         "(test - mean) / std", "test"),
        ("0.1307 and 0.3081 belong to MNIST: compute the statistics of the images that come in",
         "train.mean(), train.std()", "0.1307, 0.3081"),
        ("you only divided by 255: subtract the mean and divide by the deviation too", BOTH, "train, test"),
        ("mean and deviation are those of pixels from 0 to 1: divide the images by 255 first too",
         BOTH, "(train_images - mean) / std, (test_images - mean) / std"),
        ("subtract the mean before you divide: (x − mean) / std, not x − mean / std",
         BOTH, "train - mean / std, test - mean / std"),
    ],
    praise="Standardized training images have mean 0 and deviation 1; the test images nearly so.",
)  # fmt: skip


def run_collate(collate: Callable, samples: list[tuple[Tensor, int]]) -> object:
    """Return what the answer returns, with the dtypes written out: cross-entropy takes no other."""
    result = collate(samples)
    if isinstance(result, tuple | list) and all(isinstance(part, Tensor) for part in result):
        return (*result, *(str(part.dtype).removeprefix("torch.") for part in result))
    return result


def sample_cases(generator: torch.Generator) -> list[tuple[list[tuple[Tensor, int]]]]:
    """Draw 4, 1 and 7 samples: an image float (28, 28) with its label."""
    labels = torch.randint(10, (12,), generator=generator).tolist()
    samples = [(torch.rand(28, 28, generator=generator), label) for label in labels]
    return [(samples[:4],), (samples[4:5],), (samples[5:],)]


IMAGES, LABELS = "torch.stack(images)[:, None]", "torch.tensor(labels)"

collate = function(
    right=f"""
def collate(samples):
    images, labels = zip(*samples, strict=True)
    return {IMAGES}, {LABELS}
""",
    cases=sample_cases,
    slips=[
        ("the labels are floats: cross-entropy takes int64 class indices", LABELS, "torch.tensor(labels).float()"),
        ("the labels are int32: cross-entropy takes int64 class indices", LABELS, "torch.tensor(labels).int()"),
        ("the labels are one-hot rows: cross-entropy takes one class index a sample, int64 (B,)",
         LABELS, "F.one_hot(torch.tensor(labels), 10)"),
        ("the labels have the shape (B, 1): cross-entropy takes (B,)", LABELS, "torch.tensor(labels)[:, None]"),
        ("these are not the samples' labels but their numbers in the batch", LABELS, "torch.arange(len(samples))"),
        ("the images are float64: leave them float32, as the samples are", IMAGES, f"{IMAGES}.double()"),
        ("images have the shape (B, 28, 28): add the channel axis, (B, 1, 28, 28)", "[:, None]", ""),
        ("the channel axis is at the end: torch wants it second, (B, 1, 28, 28)", "[:, None]", "[..., None]"),
        ("a list of tensors is no batch: torch.stack makes one tensor of them", IMAGES, "list(images)"),
        ("the channel axis is in the wrong place: (B, 1, 28, 28), not (1, B, 28, 28)", "[:, None]", "[None]"),
        ("torch.cat glues images below each other: torch.stack puts them side by side along a new axis",
         IMAGES, "torch.cat(images)"),
        ("images and labels come out in the wrong order: (images, labels)",
         f"{IMAGES}, {LABELS}", f"{LABELS}, {IMAGES}"),
        ("labels must be a tensor of int64, not a list", LABELS, "list(labels)"),
        ("samples is a list of pairs (image, label): zip(*samples) takes them apart", "zip(*samples, strict=True)",
         "samples"),
    ],
    praise="That is what a DataLoader calls for every batch.",
    run=run_collate,
)  # fmt: skip


def logit_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Draw logits and labels; the last logits are so large that exp overflows, and differ much from row to row."""
    sizes = ((4, 3, 1.0), (7, 10, 3.0), (10, 10, 5.0), (5, 4, 1000.0))
    logits = [scale * torch.randn(count, classes, generator=generator) for count, classes, scale in sizes]
    return [(rows, torch.randint(rows.shape[1], (len(rows),), generator=generator)) for rows in logits]


OVERFLOW = (
    "right for small logits, but not finite for logits near 1000: subtract each row's maximum before exp, and take no "
    "log of a probability, which may round to 0: stay with log pᵢ = zᵢ − log Σ exp(zⱼ)"
)
LARGEST = "logits.max(dim=1, keepdim=True).values"
LOGP = "shifted - shifted.exp().sum(dim=1, keepdim=True).log()"
PICKED = "log_probabilities[torch.arange(len(labels)), labels]"

cross_entropy = function(
    right=f"""
def cross_entropy(logits, labels):
    shifted = logits - {LARGEST}  # (B, K)
    log_probabilities = {LOGP}
    return -{PICKED}.mean()
""",
    cases=logit_cases,
    slips=[
        (OVERFLOW, f" - {LARGEST}", "", LOGP, "(shifted.exp() / shifted.exp().sum(dim=1, keepdim=True)).log()"),
        (OVERFLOW, f" - {LARGEST}", ""),
        (OVERFLOW, LOGP, "shifted.softmax(dim=1).log()"),
        ("one maximum for all rows makes other rows round to 0: subtract each row's own largest, "
         "logits.max(dim=1, keepdim=True).values", LARGEST, "logits.max()"),
        ("keepdim=True is missing: the maximum must stay a column (B, 1) beside the rows (B, K)",
         LARGEST, "logits.max(dim=1).values"),
        ("keepdim=True is missing: the sum must stay a column (B, 1) beside the rows (B, K)",
         "sum(dim=1, keepdim=True)", "sum(dim=1)"),
        ("this divides by rows · classes: the mean runs over the rows only", ".mean()", ".sum() / logits.numel()"),
        ("the minus is missing: a loss is small when the right class is likely", f"-{PICKED}", PICKED),
        ("this is the sum over the batch: take the mean, not the sum", ".mean()", ".sum()"),
        ("the softmax runs over the batch: over the classes it is dim=1", LOGP, "logits.log_softmax(dim=0)"),
        ("softmax is applied twice: F.cross_entropy has one built in, so logits go in as they are",
         LOGP, "logits.softmax(dim=1).log_softmax(dim=1)"),
        ("these are all pairs: pick for each row its own label, logp[torch.arange(N), labels]",
         PICKED, "log_probabilities[:, labels]"),
        ("you return one loss a row: take their mean", ".mean()", ""),
    ],
    praise="Equal to torch's own, also for logits near 1000, where exp alone overflows.",
)  # fmt: skip

SHARES = "sum(r / n for r, n in zip(right, sizes, strict=True))"

batched_accuracy = function(
    right="""
def batched_accuracy(right, sizes):
    return sum(right) / sum(sizes)
""",
    cases=[([19, 1], [32, 2]), ([60, 64, 10], [64, 64, 16]), ([3], [4]), ([100, 0], [100, 1])],
    slips=[
        ("this is the mean of the batches' accuracies: weight each by its batch size",
         "sum(right) / sum(sizes)", f"{SHARES} / len(sizes)"),
        ("divide by the number of images, not of batches", "sum(sizes)", "len(sizes)"),
        ("a sum of batch accuracies divided by the number of images is far too small: add up counts",
         "sum(right)", SHARES),
        ("this is the last batch alone", "sum(right) / sum(sizes)", "right[-1] / sizes[-1]"),
        ("this is in percent: return a share from 0 to 1", "sum(right) /", "100 * sum(right) /"),
        ("this is how many are right: divide by how many there are", " / sum(sizes)", ""),
        ("right and sizes are lists: add up their numbers with sum(…)", "sum(right) / sum(sizes)", "right / sizes"),
    ],
    praise="Count right answers, count images, divide once.",
)  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- momentum


def momentum_cases(generator: torch.Generator) -> list[tuple]:
    """Draw weights (5,), three gradients (3, 5), a rate and β."""
    settings = ((0.1, 0.9), (0.5, 0.5), (0.01, 0.99))
    return [(*torch.randn(4, 5, generator=generator).split([1, 3]), *setting) for setting in settings]


def three_steps(step: Callable, weights: Tensor, gradients: Tensor, rate: float, beta: float) -> object:
    """Return weights and velocity after each of three steps of the answer, or what else it returned."""
    weights, velocity, after = weights[0], torch.zeros(5), []
    for gradient in gradients:
        result = step(weights.clone(), gradient.clone(), velocity.clone(), rate, beta)
        if untouched(result) or not isinstance(result, tuple | list) or len(result) != 2:
            return result
        weights, velocity = result
        after.append((weights, velocity))
    return after


NEW, BACK = "velocity = beta * velocity + gradient", "weights - rate * velocity, velocity"

momentum_step = function(
    right=f"""
def momentum_step(weights, gradient, velocity, rate, beta):
    {NEW}
    return {BACK}
""",
    cases=momentum_cases,
    slips=[
        ("the steps are too short by 1 − β: torch does not damp the gradient, v = β·v + g",
         "+ gradient", "+ (1 - beta) * gradient"),
        ("the memory is lost: return the new velocity, so that the next step can use it",
         NEW, "old, velocity = velocity, beta * velocity + gradient", BACK, "weights - rate * velocity, old"),
        ("the velocity holds the learning rate: torch keeps it out, v = β·v + g, and steps by rate·v",
         "+ gradient", "+ rate * gradient", "rate * velocity", "velocity"),
        ("the velocity holds the learning rate and the sign: torch keeps both out, v = β·v + g, w = w − rate·v",
         "+ gradient", "- rate * gradient", "weights - rate * velocity", "weights + velocity"),
        ("this is Nesterov's step: plain momentum steps along v itself",
         "rate * velocity", "rate * (gradient + beta * velocity)"),
        ("the two come back in the wrong order: return weights, velocity",
         BACK, "velocity, weights - rate * velocity"),
        ("expected two tensors back: return weights, velocity", BACK, "weights - rate * velocity"),
        ("the learning rate is missing: step by rate·v", "- rate * velocity", "- velocity"),
        ("this is plain SGD: the velocity is not used", "beta * velocity + gradient", "gradient"),
        ("the steps go uphill: subtract", "weights - rate", "weights + rate"),
        ("without β the old velocity never fades: v = β·v + g", "beta * velocity", "velocity"),
        ("β stands at the gradient: it multiplies the old velocity, v = β·v + g",
         "beta * velocity + gradient", "velocity + beta * gradient"),
        ("the step uses the old velocity: update it first, then step along the new one",
         NEW, "old = velocity\n    velocity = beta * old + gradient", "rate * velocity", "rate * old"),
    ],
    praise="Equal to torch.optim.SGD(momentum=β) over several steps.",
    run=three_steps,
)  # fmt: skip

# ------------------------------------------------------------------------------------------------------- spot the bugs

spot_scale = choice(
    right='spot_scale = "c"',
    wrong={
        "a": "a fine accuracy does not prove a right pipeline: look at the loss beside it, and at the pixels",
        "b": "the learning rate has nothing to do with it: the training loss is fine",
        "d": "the weights do not know which images are which: look at what each pipeline does to the pixels",
    },
    praise="The pixels are 255 times too large in the test. What that costs, the next cells measure.",
)

spot_leak = choice(
    right='spot_leak = "b"',
    wrong={
        "a": "true of the missing eval(), but this net has no dropout and no BatchNorm, so it changes nothing here: "
        "look at where the test images come from",
        "c": "no dropout, so no harm? The harm is elsewhere: train=True in the test loader makes the figure too high",
        "d": "shuffling a test set changes the order, not the count",
    },
    praise="It measured what the network has memorized, not what it can do with new digits.",
)
