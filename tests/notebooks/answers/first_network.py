"""Chapter 01: other answers."""

ACCURACY = "def one_hot_accuracy(outputs, one_hot):\n"
STEP = "def training_step(model, optimizer, inputs, labels):\n"
LOSS = "    loss = nn.functional.cross_entropy(model(inputs), labels)\n"
REST = "    optimizer.zero_grad()\n    loss.backward()\n    optimizer.step()"

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
        (ACCURACY + "    return 0", "expected"),
        (ACCURACY + "    return (outputs.argmax(1) == one_hot.argmax(1)).numpy().mean() * 2",
         "for outputs = float32 (6, 3), one_hot = float32 (6, 3): expected"),
    ],
    "01/training_step": [
        (STEP + LOSS + "    loss.backward()\n    optimizer.step()", "zero the gradients"),
        (STEP + LOSS + "    optimizer.zero_grad()\n    (-loss).backward()\n    optimizer.step()", "sign"),
        (STEP + LOSS + REST.replace("backward()", "backward"), "are its brackets there"),
        (STEP + LOSS + REST.replace("step()", "step"), "or its brackets"),
        (STEP + "    pass", "are missing"),
        (STEP + LOSS.replace("labels)", "labels, reduction='sum')") + REST, "differ from what one step"),
        (STEP + LOSS.replace("model(inputs), labels", "labels, model(inputs)") + REST, "raised"),
        (STEP + LOSS + REST + "\n    loss.backward()", "raised RuntimeError"),
    ],
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
    ("01/training_step", STEP + "    model.zero_grad()\n" + LOSS + "    loss.backward()\n    optimizer.step()"),
    ("01/training_step", STEP + LOSS + "    loss.backward()\n    optimizer.step()\n    optimizer.zero_grad()\n"
     "    return loss.item()"),
    ("01/dead_units", "def dead_units(hidden):\n    return (hidden.max(dim=0).values <= 0).sum()"),
    ("01/best_constant_mse", "best_constant_mse = 1 / 6"),
    ("01/trap_cause", 'trap_cause = " D "'),
]  # fmt: skip
