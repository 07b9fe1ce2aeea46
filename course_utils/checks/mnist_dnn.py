"""Chapter 03's exercises: standardizing, cross-entropy, accuracy over batches, collating, momentum, two bugs."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.checks.engine import Mistake, choice_exercise, function_exercise

# ------------------------------------------------------------------------------------------------------- standardize


def image_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    cases = []
    for count in (80, 200):  # so many pixels that dividing by n or by n − 1 makes no difference
        scale = torch.rand(count, 1, 1, 1, generator=generator)
        train = (255 * scale * torch.rand(count, 1, 28, 28, generator=generator)).to(torch.uint8)
        test = (200 * torch.rand(count // 2, 1, 28, 28, generator=generator)).to(torch.uint8)
        cases.append((train, test))
    return cases


def standardized(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    train, test = train / 255, test / 255
    mean, std = train.mean(), train.std()
    return (train - mean) / std, (test - mean) / std


def standardized_by(std_of, scale: float = 255, test_statistics: bool = False):
    def wrong(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
        train, test = train / scale, test / scale
        mean, std = train.mean(), std_of(train)
        if test_statistics:
            return (train - mean) / std, (test - test.mean()) / std_of(test)
        return (train - mean) / std, (test - mean) / std

    return wrong


def mean_of_stds(images: Tensor) -> Tensor:
    return torch.stack([image.std() for image in images]).mean()


def fixed(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    return (train / 255 - 0.1307) / 0.3081, (test / 255 - 0.1307) / 0.3081


standardize = function_exercise(
    standardized,
    image_cases,
    [
        Mistake(
            "one standard deviation over all pixels of all images, not a mean of the images' own",
            standardized_by(mean_of_stds),
        ),
        Mistake("you divided by the variance: divide by the standard deviation", standardized_by(torch.var)),
        Mistake(
            "the test images got their own mean and deviation: use the training statistics for both",
            standardized_by(torch.std, test_statistics=True),
        ),
        Mistake(
            "the test images are still on another scale: do the same to them as to the training images",
            lambda train, test: (standardized(train, test)[0], test / 255),
        ),
        Mistake("0.1307 and 0.3081 belong to MNIST: compute the statistics of the images that come in", fixed),
        Mistake(
            "divide by 255 only: subtract the mean and divide by the deviation too",
            lambda train, test: (train / 255, test / 255),
        ),
        Mistake(
            "mean and deviation are those of pixels from 0 to 1: divide the images by 255 first too",
            lambda train, test: tuple((x - (train / 255).mean()) / (train / 255).std() for x in (train, test)),
        ),
        Mistake(
            "subtract the mean before you divide: (x − mean) / std, not x − mean / std",
            lambda train, test: tuple(x / 255 - (train / 255).mean() / (train / 255).std() for x in (train, test)),
        ),
    ],
    praise="Standardized training images have mean 0 and deviation 1; the test images nearly so.",
    hints=[
        "Scale both to 0 … 1 first: images / 255.",
        "Take mean and std of the training images over all pixels of all images.",
        "Apply the same two numbers to the training and the test images.",
    ],
)

# ----------------------------------------------------------------------------------------------------- cross-entropy


def logit_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    cases = []
    for count, classes, scale in ((4, 3, 1.0), (7, 10, 3.0), (10, 10, 5.0), (5, 4, 1000.0)):
        logits = scale * torch.randn(count, classes, generator=generator)
        cases.append((logits, torch.randint(classes, (count,), generator=generator)))
    return cases


def picked(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    return log_probabilities[torch.arange(len(labels)), labels]


def exp_share(logits: Tensor) -> Tensor:
    return logits.exp() / logits.exp().sum(dim=1, keepdim=True)


OVERFLOW = (
    "right for small logits, but not finite for logits near 1000: subtract each row's maximum before exp, and take no "
    "log of a probability, which may round to 0: stay with log pᵢ = zᵢ − log Σ exp(zⱼ)"
)

cross_entropy = function_exercise(
    lambda logits, labels: -picked(logits.log_softmax(dim=1), labels).mean(),
    logit_cases,
    [
        Mistake(OVERFLOW, lambda logits, labels: -picked(exp_share(logits).log(), labels).mean()),
        Mistake(OVERFLOW, lambda logits, labels: (logits.exp().sum(dim=1).log() - picked(logits, labels)).mean()),
        Mistake(OVERFLOW, lambda logits, labels: -picked(logits.softmax(dim=1).log(), labels).mean()),
        Mistake(
            "this divides by rows · classes: the mean runs over the rows only",
            lambda logits, labels: -picked(logits.log_softmax(dim=1), labels).sum() / logits.numel(),
        ),
        Mistake(
            "the minus is missing: a loss is small when the right class is likely",
            lambda logits, labels: picked(logits.log_softmax(dim=1), labels).mean(),
        ),
        Mistake(
            "this is the sum over the batch: take the mean, not the sum",
            lambda logits, labels: -picked(logits.log_softmax(dim=1), labels).sum(),
        ),
        Mistake(
            "the softmax runs over the batch: over the classes it is dim=1",
            lambda logits, labels: -picked(logits.log_softmax(dim=0), labels).mean(),
        ),
        Mistake(
            "softmax is applied twice: F.cross_entropy has one built in, so logits go in as they are",
            lambda logits, labels: F.cross_entropy(logits.softmax(dim=1), labels),
        ),
        Mistake(
            "these are all pairs: pick for each row its own label, logp[torch.arange(N), labels]",
            lambda logits, labels: -logits.log_softmax(dim=1)[:, labels].mean(),
        ),
        Mistake(
            "you return one loss a row: take their mean",
            lambda logits, labels: -picked(logits.log_softmax(dim=1), labels),
        ),
    ],
    praise="Equal to torch's own, also for logits near 1000, where exp alone overflows.",
    hints=[
        "log softmax(z)_i = z_i − log Σ exp(z_j). No division is needed.",
        "Subtract each row's maximum first: logits − logits.max(dim=1, keepdim=True).values changes nothing else.",
        "Pick each row's own class with [torch.arange(len(labels)), labels], then −mean.",
    ],
)

# --------------------------------------------------------------------------------------------- accuracy over batches


def batch_cases(generator: torch.Generator) -> list[tuple[list[int], list[int]]]:
    return [([19, 1], [32, 2]), ([60, 64, 10], [64, 64, 16]), ([3], [4]), ([100, 0], [100, 1])]


batched_accuracy = function_exercise(
    lambda right, sizes: sum(right) / sum(sizes),
    batch_cases,
    [
        Mistake(
            "this is the mean of the batches' accuracies: weight each by its batch size",
            lambda right, sizes: sum(r / n for r, n in zip(right, sizes, strict=True)) / len(sizes),
        ),
        Mistake("divide by the number of images, not of batches", lambda right, sizes: sum(right) / len(sizes)),
        Mistake(
            "a sum of batch accuracies divided by the number of images is far too small: add up counts",
            lambda right, sizes: sum(r / n for r, n in zip(right, sizes, strict=True)) / sum(sizes),
        ),
        Mistake("this is the last batch alone", lambda right, sizes: right[-1] / sizes[-1]),
        Mistake("this is in percent: return a share from 0 to 1", lambda right, sizes: 100 * sum(right) / sum(sizes)),
        Mistake("this is how many are right: divide by how many there are", lambda right, sizes: sum(right)),
    ],
    praise="Count right answers, count images, divide once.",
    hints=["How many images are answered rightly in all? How many images are there in all?"],
)

# ----------------------------------------------------------------------------------------------------------- collate


def sample_cases(generator: torch.Generator) -> list[tuple[list[tuple[Tensor, int]]]]:
    sizes = (4, 1, 7)
    labels = torch.randint(10, (12,), generator=generator).tolist()
    samples = [(torch.rand(28, 28, generator=generator), label) for label in labels]
    return [(samples[sum(sizes[:k]) : sum(sizes[: k + 1])],) for k in range(len(sizes))]


def run_collate(function: Callable, case: tuple) -> object:
    """Return what the answer returns, with the dtypes written out: cross-entropy takes no other."""
    result = function(*case)
    if isinstance(result, tuple | list) and all(isinstance(part, Tensor) for part in result):
        return (*result, *(str(part.dtype).removeprefix("torch.") for part in result))
    return result


def collated(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    images, labels = zip(*samples, strict=True)
    return torch.stack(images)[:, None], torch.tensor(labels)


collate = function_exercise(
    collated,
    sample_cases,
    [
        Mistake(
            "the labels are floats: cross-entropy takes int64 class indices",
            lambda samples: (collated(samples)[0], collated(samples)[1].float()),
        ),
        Mistake(
            "the labels are int32: cross-entropy takes int64 class indices",
            lambda samples: (collated(samples)[0], collated(samples)[1].int()),
        ),
        Mistake(
            "these are not the samples' labels but their numbers in the batch",
            lambda samples: (collated(samples)[0], torch.arange(len(samples))),
        ),
        Mistake(
            "images have the shape (B, 28, 28): add the channel axis, (B, 1, 28, 28)",
            lambda samples: (collated(samples)[0][:, 0], collated(samples)[1]),
        ),
        Mistake(
            "a list of tensors is no batch: torch.stack makes one tensor of them",
            lambda samples: ([image for image, _ in samples], collated(samples)[1]),
        ),
        Mistake(
            "the channel axis is in the wrong place: (B, 1, 28, 28), not (1, B, 28, 28)",
            lambda samples: (collated(samples)[0].transpose(0, 1), collated(samples)[1]),
        ),
        Mistake(
            "torch.cat glues images below each other: torch.stack puts them side by side along a new axis",
            lambda samples: (torch.cat([image for image, _ in samples]), collated(samples)[1]),
        ),
        Mistake(
            "images and labels come out in the wrong order: (images, labels)",
            lambda samples: tuple(reversed(collated(samples))),
        ),
        Mistake(
            "labels must be a tensor of int64, not a list",
            lambda samples: (collated(samples)[0], [label for _, label in samples]),
        ),
    ],
    praise="That is what a DataLoader calls for every batch.",
    hints=[
        "images, labels = zip(*samples) takes the pairs apart.",
        "torch.stack(images) has the shape (B, 28, 28); [:, None] adds an axis after the first.",
        "torch.tensor(labels) of whole numbers is int64.",
    ],
    run=run_collate,
)

# ---------------------------------------------------------------------------------------------------------- momentum


def momentum_cases(generator: torch.Generator) -> list[tuple]:
    return [
        (
            torch.randn(5, generator=generator),
            torch.randn(3, 5, generator=generator),
            rate,
            beta,
        )
        for rate, beta in ((0.1, 0.9), (0.5, 0.5), (0.01, 0.99))
    ]


def run_momentum(step, case: tuple) -> tuple | object:
    """Return weights and velocity after each of three steps of the answer."""
    weights, gradients, rate, beta = case
    velocity = torch.zeros_like(weights)
    after = []
    for gradient in gradients:
        result = step(weights.clone(), gradient.clone(), velocity.clone(), rate, beta)
        if result is ...:
            return ...
        if not (isinstance(result, tuple | list) and len(result) == 2):
            raise ValueError("expected two tensors back: return weights, velocity")
        weights, velocity = result
        if weights is ... or velocity is ...:
            return ...
        after.append((weights, velocity))
    return tuple(after)


momentum_step = function_exercise(
    lambda w, g, v, rate, beta: (w - rate * (beta * v + g), beta * v + g),
    momentum_cases,
    [
        Mistake(
            "the steps are too short by 1 − β: torch does not damp the gradient, v = β·v + g",
            lambda w, g, v, rate, beta: (w - rate * (beta * v + (1 - beta) * g), beta * v + (1 - beta) * g),
        ),
        Mistake(
            "the memory is lost: return the new velocity, so that the next step can use it",
            lambda w, g, v, rate, beta: (w - rate * (beta * v + g), v),
        ),
        Mistake(
            "the velocity holds the learning rate: torch keeps it out, v = β·v + g, and steps by rate·v",
            lambda w, g, v, rate, beta: (w - (beta * v + rate * g), beta * v + rate * g),
        ),
        Mistake(
            "this is Nesterov's step: plain momentum steps along v itself",
            lambda w, g, v, rate, beta: (w - rate * (g + beta * (beta * v + g)), beta * v + g),
        ),
        Mistake(
            "the two come back in the wrong order: return weights, velocity",
            lambda w, g, v, rate, beta: (beta * v + g, w - rate * (beta * v + g)),
        ),
        Mistake(
            "the learning rate is missing: step by rate·v",
            lambda w, g, v, rate, beta: (w - (beta * v + g), beta * v + g),
        ),
        Mistake("this is plain SGD: the velocity is not used", lambda w, g, v, rate, beta: (w - rate * g, g)),
        Mistake("the steps go uphill: subtract", lambda w, g, v, rate, beta: (w + rate * (beta * v + g), beta * v + g)),
        Mistake(
            "without β the old velocity never fades: v = β·v + g",
            lambda w, g, v, rate, beta: (w - rate * (v + g), v + g),
        ),
        Mistake(
            "the step uses the old velocity: update it first, then step along the new one",
            lambda w, g, v, rate, beta: (w - rate * v, beta * v + g),
        ),
    ],
    praise="Equal to torch.optim.SGD(momentum=β) over several steps.",
    hints=[
        "First the velocity: v = β·v + g. Then the weights: w = w − rate·v.",
        "Return both: the next step needs the velocity.",
    ],
    run=run_momentum,
)

# ------------------------------------------------------------------------------------------------------- spot the bugs

spot_scale = choice_exercise(
    "c",
    {
        "a": "a fine accuracy does not prove a right pipeline: look at the loss beside it, and at the pixels",
        "b": "the learning rate has nothing to do with it: the training loss is fine",
        "d": "the weights do not know which images are which: look at what each pipeline does to the pixels",
    },
    praise="The pixels are 255 times too large in the test. What that costs, the next cells measure.",
    hints=["Compare the two lines that prepare the images.", "What is the largest pixel on each side?"],
)

spot_leak = choice_exercise(
    "b",
    {
        "a": "true of the missing eval(), but this net has no dropout and no BatchNorm, so it changes nothing here: "
        "look at where the test images come from",
        "c": "no dropout, so no harm? The harm is elsewhere: train=True in the test loader makes the figure too high",
        "d": "shuffling a test set changes the order, not the count",
    },
    praise="It measured what the network has memorized, not what it can do with new digits.",
    hints=["Read each argument of the two data sets.", "Which file does train=True read?"],
)

EXERCISES = {
    "standardize": standardize,
    "cross_entropy": cross_entropy,
    "batched_accuracy": batched_accuracy,
    "collate": collate,
    "momentum_step": momentum_step,
    "spot_scale": spot_scale,
    "spot_leak": spot_leak,
}
