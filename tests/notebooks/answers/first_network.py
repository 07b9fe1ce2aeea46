"""Chapter 01: other answers."""

ACCURACY = "def one_hot_accuracy(outputs, one_hot):\n"
STEP = "def training_step(model, optimizer, loss_function, inputs, targets):\n"
LOSS = "    loss = loss_function(model(inputs), targets)\n"
REST = "    optimizer.zero_grad()\n    loss.backward()\n    optimizer.step()"
BACK = "\n    return loss.item()"

WRONG = {
    "01/parameter_count": [
        ("parameter_count = 3 * 5 + 5 * 5 + 5 * 5 + 5 * 3", "biases are missing"),
        ("parameter_count = 97", "97 is not it"),
    ],
    "01/steps_per_epoch": [
        ("def steps_per_epoch(rows, batch_size):\n    return int(rows / batch_size) + 1", "one step too many"),
        ("def steps_per_epoch(rows, batch_size):\n    return batch_size", "expected 10, got 1024"),
        ("def steps_per_epoch(rows, batch_size):\n    return round(rows / batch_size)",
         "for rows = 7000, batch_size = 64: expected 110, got 109"),
    ],
    "01/one_hot_accuracy": [
        (ACCURACY + "    answers = torch.zeros_like(outputs)\n    answers[:, outputs.argmax(dim=1)] = 1\n"
         "    return (answers == one_hot).all(dim=1).float().mean()", "whole columns"),
        (ACCURACY + "    answers = torch.zeros_like(outputs)\n"
         "    answers[torch.arange(len(outputs)), outputs.argmax(dim=1)] = 1\n"
         "    return (answers == one_hot).float().mean()", "a row counts once"),
        (ACCURACY + "    return (outputs.round() == one_hot).mean()", "True and False have no mean"),
        (ACCURACY + "    return (outputs.argmax(1) == one_hot).float().mean()", "compare class with class"),
        (ACCURACY + "    return (outputs.argmax() == one_hot.argmax()).float().mean()", "argmax"),
        (ACCURACY + "    return 0", "expected"),
        (ACCURACY + "    return (outputs.argmax(1) == one_hot.argmax(1)).numpy().mean() * 2",
         "for outputs = float32 (6, 3), one_hot = float32 (6, 3): expected"),
    ],
    "01/gradients": [
        ('gradients = {"v": (0, 6), "c": 2, "w": (0, -20)}', "b is missing"),
        ('gradients = {"v": (0, 6), "c": 2, "w": (-8, -20), "b": (0, 10)}', "nothing comes back through its ReLU"),
        ('gradients = {"v": [0, 3], "c": 1, "w": [0, -10], "b": [0, 5]}', "the 2 is missing"),
        ('gradients = {"v": (12, 0), "c": 4, "w": (16, 0), "b": (8, 0)}', "v: (12, 0) is not it"),
        ("gradients = (0, 6)", "expected a dict"),
    ],
    "01/training_step": [
        (STEP + LOSS + "    loss.backward()\n    optimizer.step()" + BACK, "zero the gradients"),
        (STEP + LOSS + "    optimizer.zero_grad()\n    (-loss).backward()\n    optimizer.step()" + BACK, "weights"),
        (STEP + LOSS + REST.replace("backward()", "backward") + BACK, "are its brackets there"),
        (STEP + LOSS + REST.replace("step()", "step") + BACK, "or its brackets"),
        (STEP + LOSS + REST.replace("zero_grad()", "zero_grad") + BACK, "zero the gradients"),
        (STEP + LOSS + REST, "return its loss too"),
        (STEP + LOSS + REST + "\n    return loss", "the plain number"),
        (STEP + "    pass", "are missing"),
        (STEP + LOSS.replace("loss_function(", "2 * loss_function(") + REST + BACK, "another loss"),
        (STEP + LOSS.replace("model(inputs), targets", "targets, model(inputs)") + REST + BACK,
         "for loss_function = 'cross-entropy': your function raised"),
        (STEP + LOSS + REST + "\n    loss.backward()", "raised RuntimeError"),
    ],
    "01/silent_layer": [('silent_layer = "2"', "expected one of a, b, c, d"), ('silent_layer = "C"', "exactly 0")],
    "01/dead_units": [
        ("def dead_units(hidden):\n    return (hidden.round().sum(0) == 0).sum()", "expected"),
        ("def dead_units(hidden):\n    return (((hidden == 0).float().mean(0)) > 0.99).sum()", "expected"),
        ("def dead_units(hidden):\n    return (hidden == 0).all(dim=0)", "expected 2, got tensor([True, True, False"),
        ("def dead_units(hidden):\n    return (hidden < 0).all(0).sum()", "nothing is negative"),
    ],
    "01/best_constant_mse": [
        ("best_constant_mse = (1 / 6 + 1 / 3 + 1 / 6) / 3", "predict the shares"),
        ("best_constant_mse = 0.2", "0.2 is not it"),
    ],
    "01/trap_cause": [('trap_cause = "x"', "expected one of a, b, c, d"), ('trap_cause = "ad"', "expected one of")],
    "01/stale_optimizer": [('stale_optimizer = "D"', "would still change"), ("stale_optimizer = 2", "expected one of")],
}  # fmt: skip

RIGHT = [
    ("01/steps_per_epoch", "def steps_per_epoch(rows, batch_size):\n    return -(-rows // batch_size)"),
    ("01/parameter_count", "parameter_count = torch.tensor(98)"),
    ("01/one_hot_accuracy", ACCURACY + "    hits = one_hot[torch.arange(len(outputs)), outputs.argmax(1)]\n"
     "    return hits.mean().item()"),
    ("01/gradients", 'gradients = {"v": [0.0, 6.0], "c": torch.tensor(2), "w": torch.tensor([0, -20]), "b": (0, 10)}'),
    ("01/training_step", STEP + "    model.zero_grad()\n" + LOSS + "    loss.backward()\n    optimizer.step()" + BACK),
    ("01/training_step", STEP + LOSS + "    loss.backward()\n    optimizer.step()\n    optimizer.zero_grad()\n"
     "    return float(loss)"),
    ("01/silent_layer", "silent_layer = 'B'"),
    ("01/dead_units", "def dead_units(hidden):\n    return (hidden.max(dim=0).values <= 0).sum()"),
    ("01/best_constant_mse", "best_constant_mse = 1 / 6"),
    ("01/trap_cause", 'trap_cause = " D "'),
]  # fmt: skip
