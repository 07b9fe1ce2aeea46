"""What students write instead, and a piece of the message that must name the mistake.

These are written apart from the checks in course_utils, as a student would write them. Chapters from 04 on have
files of their own.
"""

import wrong_answers_04
import wrong_answers_05
import wrong_answers_07
import wrong_answers_09
import wrong_answers_11

ACCURACY = "def one_hot_accuracy(outputs, one_hot):\n"
STEP = "def training_step(model, optimizer, inputs, labels):\n"
LOSS = "    loss = nn.functional.cross_entropy(model(inputs), labels)\n"
STANDARDIZE = "def standardize(train_images, test_images):\n"
SCALED = "    train, test = train_images.float() / 255, test_images.float() / 255\n"
ENTROPY = "def cross_entropy(logits, labels):\n"
COLLATE = "def collate(samples):\n    images, labels = zip(*samples)\n"
MOMENTUM = "def momentum_step(weights, gradient, velocity, rate, beta):\n"

WRONG_ANSWERS = {
    "00/pixels": [
        ("pixels = 28 + 28", "one row and one column"),
        ("pixels = 28", "28 of them"),
        ("pixels = '784'", "expected a number"),
        ("pixels = None", "give a number"),
        ("pixels = 783", "not it"),
    ],
    "00/mean": [
        ("def mean(values):\n    return sum(values)", "that is the sum"),
        ("def mean(values):\n    return sum(values) // len(values)", "rounds down"),
        ("def mean(values):\n    sum(values) / len(values)", "is the return missing"),
        ("def mean(values):\n    return total / len(values)", "raised NameError"),
        ("mean = 3", "expected a function"),
    ],
    "01/steps_per_epoch": [
        ("def steps_per_epoch(rows, batch_size):\n    return rows // batch_size", "smaller last batch"),
        ("def steps_per_epoch(rows, batch_size):\n    return rows", "count updates"),
        ("def steps_per_epoch(rows, batch_size):\n    return rows / batch_size", "steps are whole"),
        ("def steps_per_epoch(rows, batch_size):\n    return int(rows / batch_size) + 1", "one step too many"),
        ("def steps_per_epoch(rows, batch_size):\n    return batch_size", "expected 10, got 1024"),
    ],
    "01/parameter_count": [
        ("parameter_count = 3 * 5 + 5 * 5 + 5 * 5 + 5 * 3", "biases are missing"),
        ("parameter_count = 95", "output layer"),
        ("parameter_count = 68", "5 → 5 layer is missing"),
        ("parameter_count = 84", "one bias for each neuron"),
        ("parameter_count = 128", "too many"),
    ],
    "01/one_hot_accuracy": [
        (
            ACCURACY + "    answers = torch.zeros_like(outputs)\n    answers[:, outputs.argmax(dim=1)] = 1\n"
            "    return (answers == one_hot).all(dim=1).float().mean()",
            "whole columns",
        ),
        (
            ACCURACY + "    answers = torch.zeros_like(outputs)\n"
            "    answers[torch.arange(len(outputs)), outputs.argmax(dim=1)] = 1\n"
            "    return (answers == one_hot).float().mean()",
            "a row counts once",
        ),
        (ACCURACY + "    return (outputs.argmax(0) == one_hot.argmax(0)).float().mean()", "classes are axis 1"),
        (ACCURACY + "    return (outputs.argmax(1) == one_hot.argmax(1)).sum()", "divide by how many rows"),
        (ACCURACY + "    return (outputs.round() == one_hot).mean()", "raised RuntimeError"),
        (ACCURACY + "    return 0", "expected"),
    ],
    "01/training_step": [
        (STEP + LOSS + "    loss.backward()\n    optimizer.step()", "zero the gradients"),
        (STEP + LOSS + "    loss.backward()\n    optimizer.zero_grad()\n    optimizer.step()", "nothing moves"),
        (STEP + LOSS + "    optimizer.zero_grad()\n    loss.backward()", "optimizer.step() missing"),
        (STEP + LOSS + "    optimizer.zero_grad()\n    (-loss).backward()\n    optimizer.step()", "sign"),
        (STEP + LOSS + "    optimizer.zero_grad()\n    optimizer.step()\n    loss.backward()", "is the order"),
        (STEP + "    pass", "are missing"),
        (STEP + LOSS.replace("labels)", "labels, reduction='sum')") + "    optimizer.zero_grad()\n"
         "    loss.backward()\n    optimizer.step()", "differ from what one step"),
        (STEP + LOSS.replace("model(inputs), labels", "labels, model(inputs)") + "    optimizer.zero_grad()\n"
         "    loss.backward()\n    optimizer.step()", "raised"),
        (STEP + LOSS.replace("model(inputs)", "model(inputs).softmax(1)") + "    optimizer.zero_grad()\n"
         "    loss.backward()\n    optimizer.step()", "softmax comes before"),
    ],
    "01/dead_units": [
        ("def dead_units(hidden):\n    return (hidden == 0).float().mean()", "share of zeros"),
        ("def dead_units(hidden):\n    return (hidden[:64] == 0).all(dim=0).sum()", "all training rows"),
        ("def dead_units(hidden):\n    return (hidden == 0).all(dim=1).sum()", "units are columns"),
        ("def dead_units(hidden):\n    return (hidden == 0).any(dim=0).sum()", "for all rows"),
    ],
    "01/best_constant_mse": [
        ("best_constant_mse = 2 * (1 / 6) * (5 / 6) + (2 / 3) * (1 / 3)", "average over the three classes"),
        ("best_constant_mse = (1 / 6 + 1 / 3 + 1 / 6) / 3", "predict the shares"),
        ("best_constant_mse = 2 / 3", "accuracy of the constant"),
    ],
    "01/trap_cause": [
        ('trap_cause = "a"', "16 units"),
        ('trap_cause = "b"', "cross-entropy alone"),
        ('trap_cause = "c"', "tanh alone"),
        ('trap_cause = "x"', "expected one of"),
    ],
    "01/stale_optimizer": [
        ('stale_optimizer = "a"', "last digit"),
        ('stale_optimizer = "c"', "output layer's biases"),
        ('stale_optimizer = "D"', "would still change"),
    ],
    "03/standardize": [
        (STANDARDIZE + SCALED + "    std = torch.stack([image.std() for image in train]).mean()\n"
         "    return (train - train.mean()) / std, (test - train.mean()) / std", "not a mean of the images' own"),
        (STANDARDIZE + SCALED + "    return (train - train.mean()) / train.var(), (test - train.mean()) / train.var()",
         "standard deviation"),
        (STANDARDIZE + SCALED + "    return (train - train.mean()) / train.std(), (test - test.mean()) / test.std()",
         "training statistics"),
        (STANDARDIZE + SCALED + "    return (train - 0.1307) / 0.3081, (test - 0.1307) / 0.3081", "belong to MNIST"),
        (STANDARDIZE + "    return train_images / 255, test_images / 255", "subtract the mean"),
        (STANDARDIZE + SCALED + "    m, s = torch.cat([train, test]).mean(), torch.cat([train, test]).std()\n"
         "    return (train - m) / s, (test - m) / s", "that begins"),
        (STANDARDIZE + "    mean, std = train_images.float().mean() / 255, train_images.float().std() / 255\n"
         "    return (train_images - mean) / std, (test_images - mean) / std", "divide the images by 255"),
    ],
    "03/cross_entropy": [
        (ENTROPY + "    p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)\n"
         "    return -p[torch.arange(len(labels)), labels].log().mean()", "subtract each row's maximum"),
        (ENTROPY + "    z = logits - logits.max(dim=1, keepdim=True).values\n"
         "    return -z.softmax(1).log()[torch.arange(len(labels)), labels].mean()", "no log of a probability"),
        (ENTROPY + "    logp = logits.log_softmax(dim=1)\n    return -logp[torch.arange(len(labels)), labels]",
         "one loss a row"),
        (ENTROPY + "    logp = logits.log_softmax(dim=1)\n    return logp[torch.arange(len(labels)), labels].mean()",
         "minus is missing"),
        (ENTROPY + "    logp = logits.log_softmax(dim=1)\n    return -logp[torch.arange(len(labels)), labels].sum()",
         "the mean, not the sum"),
        (ENTROPY + "    logp = logits.log_softmax(dim=0)\n    return -logp[torch.arange(len(labels)), labels].mean()",
         "over the classes"),
        (ENTROPY + "    return F.cross_entropy(logits.softmax(dim=1), labels)", "softmax is applied twice"),
    ],
    "03/batched_accuracy": [
        ("def batched_accuracy(right, sizes):\n    shares = [r / n for r, n in zip(right, sizes)]\n"
         "    return sum(shares) / len(shares)", "weight each by its batch size"),
        ("def batched_accuracy(right, sizes):\n    return sum(right) / len(right)", "not of batches"),
        ("def batched_accuracy(right, sizes):\n    return right[-1] / sizes[-1]", "last batch alone"),
        ("def batched_accuracy(right, sizes):\n    return 100 * sum(right) / sum(sizes)", "in percent"),
    ],
    "03/collate": [
        (COLLATE + "    return torch.stack(images)[:, None], torch.tensor(labels, dtype=torch.float32)", "int64"),
        (COLLATE + "    return torch.stack(images), torch.tensor(labels)", "channel axis"),
        (COLLATE + "    return torch.stack(images)[:, None], torch.arange(len(samples))", "numbers in the batch"),
        (COLLATE + "    return torch.stack(images)[:, None], torch.tensor(labels, dtype=torch.int32)", "int32"),
        (COLLATE + "    return torch.stack(images)[:, None].double(), torch.tensor(labels)", "float64"),
        (COLLATE + "    return list(images), torch.tensor(labels)", "torch.stack"),
        (COLLATE + "    return torch.cat(images), torch.tensor(labels)", "along a new axis"),
        (COLLATE + "    return torch.stack(images)[None], torch.tensor(labels)", "wrong place"),
    ],
    "03/momentum_step": [
        (MOMENTUM + "    velocity = beta * velocity + (1 - beta) * gradient\n"
         "    return weights - rate * velocity, velocity", "does not damp"),
        (MOMENTUM + "    return weights - rate * (beta * velocity + gradient), velocity", "memory is lost"),
        (MOMENTUM + "    velocity = beta * velocity + gradient\n"
         "    return weights + rate * velocity, velocity", "uphill"),
        (MOMENTUM + "    return weights - rate * gradient, gradient", "plain SGD"),
        (MOMENTUM + "    velocity = beta * velocity + rate * gradient\n    return weights - velocity, velocity",
         "holds the learning rate"),
        (MOMENTUM + "    velocity = beta * velocity + gradient\n    return velocity, weights - rate * velocity",
         "wrong order"),
        (MOMENTUM + "    velocity = beta * velocity + gradient\n    return weights - velocity, velocity",
         "learning rate is missing"),
        (MOMENTUM + "    velocity = beta * velocity + gradient\n    return weights - rate * velocity", "two tensors"),
    ],
    "03/spot_scale": [
        ('spot_scale = "a"', "look at the loss"),
        ('spot_scale = "b"', "nothing to do with it"),
        ('spot_scale = "d"', "what each pipeline does"),
    ],
    "03/spot_leak": [
        ('spot_leak = "c"', "train=True in the test loader"),
        ('spot_leak = "a"', "where the test images come from"),
        ('spot_leak = "d"', "not the count"),
    ],
    **wrong_answers_04.WRONG_ANSWERS,
    **wrong_answers_05.WRONG_ANSWERS,
    **wrong_answers_07.WRONG_ANSWERS,
    **wrong_answers_09.WRONG_ANSWERS,
    **wrong_answers_11.WRONG_ANSWERS,
}  # fmt: skip

# Right answers that look unlike the solutions: none of them may be refused.
OTHER_RIGHT_ANSWERS = [
    ("00/mean", "import numpy as np\ndef mean(values):\n    return np.mean(values)"),
    ("01/steps_per_epoch", "def steps_per_epoch(rows, batch_size):\n    return -(-rows // batch_size)"),
    ("01/parameter_count", "parameter_count = torch.tensor(98)"),
    ("01/one_hot_accuracy", ACCURACY + "    hits = one_hot[torch.arange(len(outputs)), outputs.argmax(1)]\n"
     "    return hits.mean().item()"),
    ("01/training_step", STEP + "    model.zero_grad()\n" + LOSS + "    loss.backward()\n    optimizer.step()"),
    ("01/training_step", STEP + LOSS + "    loss.backward()\n    optimizer.step()\n    optimizer.zero_grad()\n"
     "    return loss.item()"),
    ("01/dead_units", "def dead_units(hidden):\n    return (hidden.max(dim=0).values <= 0).sum()"),
    ("01/trap_cause", 'trap_cause = " D "'),
    ("03/standardize", STANDARDIZE + SCALED + "    m, s = train.mean(), train.std(correction=0)\n"
     "    return [(train - m) / s, (test - m) / s]"),
    ("03/standardize", STANDARDIZE + "    m, s = train_images.numpy().mean(), train_images.numpy().std()\n"
     "    return (train_images - m) / s, (test_images - m) / s"),
    ("03/cross_entropy", ENTROPY + "    return F.cross_entropy(logits, labels)"),
    ("03/cross_entropy", ENTROPY + "    z = logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]\n"
     "    return z.mean().item()"),
    ("03/collate", COLLATE + "    return [torch.stack(images).unsqueeze(1), torch.as_tensor(labels)]"),
    ("03/momentum_step", MOMENTUM + "    velocity.mul_(beta).add_(gradient)\n    weights.sub_(rate * velocity)\n"
     "    return weights, velocity"),
    *wrong_answers_04.OTHER_RIGHT_ANSWERS,
    *wrong_answers_05.OTHER_RIGHT_ANSWERS,
    *wrong_answers_07.OTHER_RIGHT_ANSWERS,
    *wrong_answers_09.OTHER_RIGHT_ANSWERS,
    *wrong_answers_11.OTHER_RIGHT_ANSWERS,
]  # fmt: skip
