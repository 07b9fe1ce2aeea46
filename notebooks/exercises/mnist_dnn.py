"""Chapter 03's exercises: from pixels to a loss by hand, then batches, comparisons, momentum, two bugs."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from course_utils.exercises import choice, function, table, untouched, value


def image_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Draw training and test images, uint8; so many pixels that dividing by n or by n − 1 makes no difference."""
    draw = partial(torch.rand, generator=generator)
    train = [255 * draw(count, 1, 1, 1) * draw(count, 1, 28, 28) for count in (80, 200)]
    return [(images.byte(), (200 * draw(len(images) // 2, 1, 28, 28)).byte()) for images in train]


def run_standardize(answer: Callable, train_images: Tensor, test_images: Tensor) -> object:
    """Call the answer, unless it reads the notebook's global `statistics`, which belong to other images."""
    names = getattr(getattr(answer, "__code__", None), "co_names", ())
    return "the notebook's" if "statistics" in names else answer(train_images, test_images)


SCALED = "train, test = train_images / 255, test_images / 255"
NUMBERS, BOTH = "train.mean(), train.std()", "(train - mean) / std, (test - mean) / std"

standardize = function(
    right=f"""
def standardize(train_images, test_images):
    {SCALED}
    mean, std = {NUMBERS}
    return {BOTH}
""",
    cases=image_cases,
    run=run_standardize,
    slips=[
        ("`statistics` outside belongs to MNIST: use the images that come in", NUMBERS, "statistics"),
        ("one standard deviation over all pixels of all images, not a mean of the images' own",
         "train.std()", "torch.stack([image.std() for image in train]).mean()"),
        ("you divided by the variance: divide by the standard deviation", "train.std()", "train.var()"),
        ("the test images got their own mean and deviation: use the training statistics for both",
         "(test - mean) / std", "(test - test.mean()) / test.std()"),
        ("the statistics are those of all images together: use the training images' for both",
         NUMBERS, "torch.cat([train, test]).mean(), torch.cat([train, test]).std()"),
        ("the test images are still on another scale: do the same to them", "(test - mean) / std", "test"),
        ("0.1307 and 0.3081 belong to MNIST: use the images that come in", NUMBERS, "0.1307, 0.3081"),
        ("you only divided by 255: subtract the mean and divide by the deviation too", BOTH, "train, test"),
        ("mean and deviation are those of pixels from 0 to 1: divide the images by 255 first too",
         BOTH, "(train_images - mean) / std, (test_images - mean) / std"),
        ("subtract the mean before you divide: (x − mean) / std", BOTH, "train - mean / std, test - mean / std"),
    ],
    praise="Standardized training images have mean 0 and deviation 1; the test images nearly so.",
)  # fmt: skip

P, LOSS, SLOPES = "(0.2, 0.6, 0.2)", "-math.log(0.2)", "(0.2 - 1, 0.6, 0.2)"

three_classes = table(
    right=f"""
three_classes = {{
    "probabilities": {P},
    "loss": {LOSS},
    "gradient": {SLOPES},
}}
""",
    slips=[
        ("these are the powers eᶻ: divide them by their sum", P, "(1, 3, 1)"),
        ("these are the logits over their sum: take eᶻ first, e⁰ = 1", P, "(0, 1, 0)"),
        ("the minus is missing: −log of a probability is never negative", LOSS, "math.log(0.2)"),
        ("that is −log of the largest probability: the right class is the first", LOSS, "-math.log(0.6)"),
        ("that is the probability itself: take −log of it", LOSS, "0.2"),
        ("that is the logarithm to base 10: math.log is the natural one", LOSS, "-math.log10(0.2)"),
        ("the sign is turned: p − y, probability minus target", SLOPES, "(1 - 0.2, -0.6, -0.2)"),
        ("these are the probabilities: subtract the target, 1 at the right class", SLOPES, P),
        ("the target is 1 at the right class only, and 0 at the others", SLOPES, "(-0.8, -0.4, -0.8)"),
    ],
    praise="The three slopes add up to 0: what one logit gains, the others lose.",
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
KEEPDIM = "keepdim=True is missing: what each row has once must stay a column (B, 1) beside the rows (B, K)"
LARGEST, SUM = "logits.max(dim=1, keepdim=True).values", "shifted.exp().sum(dim=1, keepdim=True)"
LOGP, PICKED = f"shifted - {SUM}.log()", "log_probabilities[torch.arange(len(labels)), labels]"

cross_entropy = function(
    right=f"""
def cross_entropy(logits, labels):
    shifted = logits - {LARGEST}  # (B, K)
    log_probabilities = {LOGP}
    return -{PICKED}.mean()
""",
    cases=logit_cases,
    slips=[
        (OVERFLOW, f" - {LARGEST}", "", LOGP, f"(shifted.exp() / {SUM}).log()"),
        (OVERFLOW, f" - {LARGEST}", ""),
        (OVERFLOW, LOGP, "shifted.softmax(dim=1).log()"),
        ("one maximum for all makes other rows round to 0: subtract each row's own largest", LARGEST, "logits.max()"),
        (KEEPDIM, LARGEST, "logits.max(dim=1).values"),
        (KEEPDIM, SUM, "shifted.exp().sum(dim=1)"),
        ("this divides by rows · classes: the mean runs over the rows only", ".mean()", ".sum() / logits.numel()"),
        ("the minus is missing: a loss is small when the right class is likely", f"-{PICKED}", PICKED),
        ("this is the sum over the batch: take the mean, not the sum", ".mean()", ".sum()"),
        ("the softmax runs over the batch: over the classes it is dim=1", SUM, "shifted.exp().sum(dim=0)"),
        ("softmax is applied twice: logits go in as they are", LOGP, "shifted.softmax(dim=1).softmax(dim=1).log()"),
        ("these are all pairs: pick each row's own label, logp[torch.arange(N), labels]",
         PICKED, "log_probabilities[:, labels]"),
        ("you return one loss a row: take their mean", ".mean()", ""),
    ],
    forbid=("cross_entropy", "log_softmax", "logsumexp"),
    praise="Equal to torch's own, also for logits near 1000, where exp alone overflows.",
)  # fmt: skip

ALL, SHARES = "sum(right) / sum(sizes)", "sum(r / n for r, n in zip(right, sizes, strict=True))"

batched_accuracy = function(
    right=f"""
def batched_accuracy(right, sizes):
    return {ALL}
""",
    cases=[([19, 1], [32, 2]), ([60, 64, 10], [64, 64, 16]), ([3], [4]), ([100, 0], [100, 1])],
    slips=[
        ("this is the mean of the batches' accuracies: weight each by its size", ALL, f"{SHARES} / len(sizes)"),
        ("divide by the number of images, not of batches", "sum(sizes)", "len(sizes)"),
        ("a sum of accuracies divided by the number of images is far too small: add up counts", "sum(right)", SHARES),
        ("this is the last batch alone", ALL, "right[-1] / sizes[-1]"),
        ("this is in percent: return a share from 0 to 1", "sum(right) /", "100 * sum(right) /"),
        ("this is how many are right: divide by how many there are", " / sum(sizes)", ""),
        ("right and sizes are lists: add up their numbers with sum(…)", ALL, "right / sizes"),
    ],
    praise="Count right answers, count images, divide once.",
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
    run=run_collate,
    slips=[
        ("the labels are floats: cross-entropy takes int64 class indices", LABELS, "torch.tensor(labels).float()"),
        ("the labels are int32: cross-entropy takes int64 class indices", LABELS, "torch.tensor(labels).int()"),
        ("the labels are one-hot rows: one index a sample, int64 (B,)", LABELS, "F.one_hot(torch.tensor(labels), 10)"),
        ("the labels have the shape (B, 1): cross-entropy takes (B,)", LABELS, "torch.tensor(labels)[:, None]"),
        ("these are not the labels but the samples' numbers in the batch", LABELS, "torch.arange(len(samples))"),
        ("labels must be a tensor of int64, not a list", LABELS, "list(labels)"),
        ("the images are float64: leave them float32, as the samples are", IMAGES, f"{IMAGES}.double()"),
        ("images have the shape (B, 28, 28): add the channel axis, (B, 1, 28, 28)", "[:, None]", ""),
        ("the channel axis is at the end: torch wants it second, (B, 1, 28, 28)", "[:, None]", "[..., None]"),
        ("the channel axis is in the wrong place: (B, 1, 28, 28), not (1, B, 28, 28)", "[:, None]", "[None]"),
        ("a list of tensors is no batch: torch.stack makes one tensor of them", IMAGES, "list(images)"),
        ("torch.cat glues images below each other: torch.stack makes a new axis", IMAGES, "torch.cat(images)"),
        ("images and labels come out in the wrong order", f"{IMAGES}, {LABELS}", f"{LABELS}, {IMAGES}"),
        ("samples is a list of pairs (image, label): zip(*samples) takes them apart", "zip(*samples, strict=True)",
         "samples"),
    ],
    praise="That is what a DataLoader calls for every batch.",
)  # fmt: skip


def answer_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Draw what two networks answer and the labels, int64 (200,): often right, and wrong in different ways."""
    labels = torch.randint(10, (3, 200), generator=generator)
    draw = partial(torch.rand, labels.shape, generator=generator)
    answers_a, answers_b = labels.where(draw() < 0.9, (labels + 3) % 10), labels.where(draw() < 0.8, (labels + 5) % 10)
    return list(zip(answers_a, answers_b, labels, strict=True))


COUNTS = "(a & ~b).sum(), (b & ~a).sum()"

only_one_right = function(
    right=f"""
def only_one_right(answers_a, answers_b, labels):
    a, b = answers_a == labels, answers_b == labels
    return {COUNTS}
""",
    cases=answer_cases,
    slips=[
        ("these count all that each reads: count those where the *other* is wrong", COUNTS, "a.sum(), b.sum()"),
        ("these count the mistakes of each: count those where the *other* is right", COUNTS, "(~a).sum(), (~b).sum()"),
        ("the wrong order: first a alone right, then b alone", COUNTS, "(b & ~a).sum(), (a & ~b).sum()"),
        ("where the answers differ both may be wrong: compare each with the labels",
         COUNTS, "(answers_a != answers_b).sum(), (answers_a != answers_b).sum()"),
        ("both right, or both wrong, says nothing about which is better", COUNTS, "(a & b).sum(), (~a & ~b).sum()"),
        ("these are shares: return counts", COUNTS, "(a & ~b).float().mean(), (b & ~a).float().mean()"),
        ("the sums are missing: return two numbers, not two rows of True and False", COUNTS, "a & ~b, b & ~a"),
    ],
    praise="Images that both read, or both misread, say nothing about which is better: they are left out.",
)  # fmt: skip


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
DOWN = "torch keeps rate and sign out of the velocity, v = β·v + g, and steps by w = w − rate·v"

momentum_step = function(
    right=f"""
def momentum_step(weights, gradient, velocity, rate, beta):
    {NEW}
    return {BACK}
""",
    cases=momentum_cases,
    run=three_steps,
    slips=[
        ("the steps are too short by 1 − β: torch does not damp the gradient", "+ gradient", "+ (1 - beta) * gradient"),
        ("the memory is lost: return the new velocity, so that the next step can use it",
         NEW, "old, velocity = velocity, beta * velocity + gradient", BACK, "weights - rate * velocity, old"),
        (DOWN, "+ gradient", "+ rate * gradient", "rate * velocity", "velocity"),
        (DOWN, "+ gradient", "- rate * gradient", "weights - rate * velocity", "weights + velocity"),
        ("this is Nesterov's step: plain momentum steps along v itself",
         "rate * velocity", "rate * (gradient + beta * velocity)"),
        ("the two come back in the wrong order: return weights, velocity",
         BACK, "velocity, weights - rate * velocity"),
        ("expected two tensors back: return weights, velocity", BACK, "weights - rate * velocity"),
        ("the learning rate is missing: step by rate·v", "- rate * velocity", "- velocity"),
        ("this is plain SGD: the velocity is not used", "beta * velocity + gradient", "gradient"),
        ("the steps go uphill: subtract", "weights - rate", "weights + rate"),
        ("without β the old velocity never fades: v = β·v + g", "beta * velocity", "velocity"),
        ("the weights step along the gradient alone: step along the new velocity", BACK,
         "weights - rate * gradient, velocity"),
        ("β multiplies the old velocity: v = β·v + g", "beta * velocity + gradient", "velocity + beta * gradient"),
        ("the step uses the old velocity: update it first, then step along the new one",
         NEW, "old = velocity\n    velocity = beta * old + gradient", "rate * velocity", "rate * old"),
    ],
    praise="Equal to torch.optim.SGD(momentum=β) over several steps.",
)  # fmt: skip

spot_scale = choice(
    right='spot_scale = "c"',
    wrong={
        "a": "a fine accuracy does not prove a right pipeline: look at the loss beside it, and at the pixels",
        "b": "the learning rate has nothing to do with it: the training loss is fine",
        "d": "the weights do not know which images are which: look at what each pipeline does to the pixels",
    },
    praise="The pixels are 255 times too large in the test. What that costs, the next cells measure.",
)

TERMS = "0.91 * math.log(0.91) + 9 * 0.01 * math.log(0.01)"

smoothing_floor = value(
    right=f"smoothing_floor = -({TERMS})",
    slips=[
        ("that is the right class's term alone: nine others expect 0.01 each", TERMS, "0.91 * math.log(0.91)"),
        ("one other class is not nine", "9 * ", ""),
        ("each −log q is weighted by its q, also the right class's", "0.91 * math.log", "math.log"),
        ("smoothing spreads 0.1 over all ten classes: 0.91 and nine times 0.01",
         TERMS, "0.9 * math.log(0.9) + 0.1 * math.log(0.1 / 9)"),
        ("that is the floor without smoothing: here no answer fits the target without surprise", 0.0),
        ("the sign is turned: −log of a number below 1 is positive", "-(", "("),
    ],
    praise="It is the entropy of the target itself: no answer has a lower cross-entropy with it.",
    tolerance=2e-3,
)  # fmt: skip

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
