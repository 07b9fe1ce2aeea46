"""Chapter 03: other answers."""

from answers import changed

STANDARDIZE = "def standardize(train_images, test_images):\n"
SCALED = "    train, test = train_images.float() / 255, test_images.float() / 255\n"
ENTROPY = "def cross_entropy(logits, labels):\n"
COLLATE = "def collate(samples):\n    images, labels = zip(*samples)\n"
MOMENTUM = "def momentum_step(weights, gradient, velocity, rate, beta):\n"
PAIR = "def only_one_right(answers_a, answers_b, labels):\n"
TABLE = "three_classes = {'probabilities': (0.2, 0.6, 0.2), 'loss': -math.log(0.2), 'gradient': (-0.8, 0.6, 0.2)}"
ACCURACY = "def batched_accuracy(right, sizes):\n"

WRONG = {
    "03/standardize": [
        (STANDARDIZE + "    mean, std = train_images.float().mean() / 255, train_images.float().std() / 255\n"
         "    return (train_images - mean) / std, (test_images - mean) / std", "divide the images by 255"),
        (STANDARDIZE + SCALED + "    m, s = train.mean(), train.std()\n"
         "    return ((train - m) / s).numpy(), ((test - m) / s).numpy()", "return a tensor"),
        (STANDARDIZE + SCALED + "    return (train - train.mean()) / train.std()", "expected"),
        (STANDARDIZE + SCALED + "    m, s = train.mean(), train.std() + 0.1\n"
         "    return (train - m) / s, (test - m) / s",
         "part 1 of 2: the shape (80, 1, 28, 28) is right; at [0, 0, 0, 0]"),
        (STANDARDIZE + SCALED + "    return (train - statistics.mean) / statistics.std, (test - statistics.mean)",
         "belongs to MNIST"),
        (STANDARDIZE + "    train_images -= train_images.mean()", "raised RuntimeError"),
    ],
    "03/cross_entropy": [
        (ENTROPY + "    p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)\n"
         "    return -p[torch.arange(len(labels)), labels].log().mean()", "subtract each row's maximum"),
        (ENTROPY + "    z = logits - logits.max()\n    logp = z - z.exp().sum(1, keepdim=True).log()\n"
         "    return -logp[torch.arange(len(labels)), labels].mean()", "row's own largest"),
        (ENTROPY + "    return F.cross_entropy(logits, labels)", "cross_entropy does this exercise's work"),
        (ENTROPY + "    return F.nll_loss(logits.log_softmax(1), labels)", "log_softmax does this exercise's work"),
        (ENTROPY + "    z = logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]\n    return z.mean()",
         "logsumexp does this exercise's work"),
        (ENTROPY + "    p = logits.softmax(dim=1)\n    return -p[torch.arange(len(labels)), labels].log().mean()",
         "take no log of a probability"),
        (ENTROPY + "    z = logits - logits.max(1).values", "keepdim=True keeps an axis of 1"),
        (ENTROPY + "    return F.nll_loss(logits, labels)", "for logits = float32 (4, 3), labels = tensor(["),
    ],
    "03/batched_accuracy": [
        (ACCURACY + "    shares = [r / n for r, n in zip(right, sizes)]\n    return sum(shares) / len(shares)",
         "weight each by its size"),
        (ACCURACY + "    return sum(right) / len(right)", "not of batches"),
        (ACCURACY + "    return sum(right) / (sizes[0] * len(sizes))", "expected 0.58824, got 0.3125"),
    ],
    "03/three_classes": [
        (changed(TABLE, "(0.2, 0.6, 0.2), 'loss'", "(1 / 3, 1 / 3, 1 / 3), 'loss'"), "probabilities: "),
        (changed(TABLE, "-math.log(0.2)", "math.log(0.2)"), "the minus is missing"),
        (changed(TABLE, "(-0.8,", "(0.8,"), "gradient: "),
        ("three_classes = {'probabilities': (0.2, 0.6, 0.2)}", "loss is missing"),
    ],
    "03/collate": [
        (COLLATE + "    return torch.stack(images)[:, None], torch.tensor(labels, dtype=torch.float32)", "int64"),
        (COLLATE + "    return torch.stack(images)[:, None].double(), torch.tensor(labels)", "float64"),
        (COLLATE + "    return torch.stack(images)[..., None], torch.tensor(labels)", "channel axis is at the end"),
        (COLLATE + "    return torch.stack(images)[:, None]", "expected"),
        ("def collate(samples):\n    images, labels = samples\n    return images, labels", "takes them apart"),
    ],
    "03/only_one_right": [
        (PAIR + "    return int((answers_a == labels).sum()), int((answers_b == labels).sum())", "*other* is wrong"),
        (PAIR + "    return (answers_a != answers_b).sum()", "expected ("),
        (PAIR + "    return len(labels[answers_a == labels]) - len(labels[answers_b == labels])", "expected ("),
    ],
    "03/smoothing_floor": [("smoothing_floor = 0.0", "without smoothing"), ("smoothing_floor = 0.1", "is not it")],
    "03/momentum_step": [
        (MOMENTUM + "    velocity = beta * velocity + gradient\n    return weights - rate * gradient, velocity",
         "step along the new velocity"),
        (MOMENTUM + "    v = velocity + beta * gradient\n    return weights - rate * v, v",
         "multiplies the old velocity"),
        (MOMENTUM + "    v = beta * velocity - rate * gradient\n    return weights + v, v", "rate and sign out"),
        (MOMENTUM + "    return weights - rate * gradient, velocity", "memory is lost"),
        (MOMENTUM + "    velocity = beta * velocity + gradient\n    return weights - rate * velocity", "two tensors"),
        (MOMENTUM + "    velocity = beta * velocity + gradient\n"
         "    return (weights - rate * velocity).tolist(), velocity.tolist()", "raised AttributeError"),
    ],
    "03/spot_scale": [('spot_scale = "A"', "look at the loss"), ('spot_scale = ""', "expected one of")],
    "03/spot_leak": [('spot_leak = "e"', "expected one of a, b, c, d")],
}  # fmt: skip

RIGHT = [
    ("03/standardize", STANDARDIZE + SCALED + "    m, s = train.mean(), train.std(correction=0)\n"
     "    return [(train - m) / s, (test - m) / s]"),
    ("03/standardize", STANDARDIZE + "    m, s = train_images.numpy().mean(), train_images.numpy().std()\n"
     "    return (train_images - m) / s, (test_images - m) / s"),
    ("03/cross_entropy", ENTROPY + "    z = logits - logits.amax(1, keepdim=True)\n"
     "    z = z.exp().sum(1).log() - z.gather(1, labels[:, None])[:, 0]\n    return z.mean().item()"),
    ("03/three_classes", "three_classes = {'probabilities': torch.tensor([0.2, 0.6, 0.2]), 'loss': math.log(5),\n"
     "                 'gradient': [-0.8, 0.6, 0.2]}"),
    ("03/only_one_right", PAIR + "    a = (answers_a == labels).numpy()\n    b = (answers_b == labels).numpy()\n"
     "    return [int(np.logical_and(a, ~b).sum()), int((b > a).sum())]"),
    ("03/smoothing_floor", "smoothing_floor = 0.5"),
    ("03/collate", COLLATE + "    return [torch.stack(images).unsqueeze(1), torch.as_tensor(labels)]"),
    ("03/momentum_step", MOMENTUM + "    velocity.mul_(beta).add_(gradient)\n    weights.sub_(rate * velocity)\n"
     "    return weights, velocity"),
]  # fmt: skip
