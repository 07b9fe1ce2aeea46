"""Chapter 01's exercises: steps, parameters, a right accuracy, a training step, dead units, the 67 % trap."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_utils.checks.engine import Mistake, choice_exercise, function_exercise, value_exercise

# -------------------------------------------------------------------------------------------------- steps per epoch


def step_cases(generator: torch.Generator) -> list[tuple[int, int]]:
    return [(10_240, 1024), (7000, 64), (7000, 7000), (5, 8), (1, 1)]


steps_per_epoch = function_exercise(
    lambda rows, batch_size: -(-rows // batch_size),
    step_cases,
    [
        Mistake(
            "the smaller last batch is a step too: round up, not down", lambda rows, batch_size: rows // batch_size
        ),
        Mistake(
            "steps are whole: the last batch may be smaller, but it is one step",
            lambda rows, batch_size: rows / batch_size,
        ),
        Mistake("count updates, not rows: one batch makes one step", lambda rows, batch_size: rows),
        Mistake(
            "one step too many where batch_size divides the rows: 10240 rows in batches of 1024 are 10 steps",
            lambda rows, batch_size: rows // batch_size + 1,
        ),
    ],
    praise="10 240 rows in batches of 1024 make 10 steps an epoch, so 50 in 5 epochs.",
    hints=[
        "Each batch gives one update of the weights: one step.",
        "7000 rows in batches of 64: 109 full batches, and 24 rows are left over.",
        "math.ceil(rows / batch_size) rounds up.",
    ],
)

# -------------------------------------------------------------------------------------------------- parameter count

parameter_count = value_exercise(
    98,
    {
        80: "these are the weights only: the biases are missing, one for each of the 5 + 5 + 5 + 3 neurons",
        95: "the three biases of the output layer are missing",
        68: "a 5 → 5 layer is missing: there are three hidden layers, so two steps from 5 to 5",
        18: "these are the biases only: add one weight for each connection",
        84: "one bias for each neuron, not one for each layer",
        128: "one 5 → 5 layer too many: there are three hidden layers, so two steps from 5 to 5",
        83: "the hidden layers' biases are missing: one for each of their 15 neurons",
    },
    praise="(3·5 + 5) + (5·5 + 5) + (5·5 + 5) + (5·3 + 3) = 98.",
    hints=[
        "A layer from 3 to 5 has 3·5 weights and 5 biases.",
        "There are four layers: 3 → 5, 5 → 5, 5 → 5 and 5 → 3.",
    ],
    tolerance=1e-9,
)

# -------------------------------------------------------------------------------------------------- one-hot accuracy


def one_hot_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    cases = []
    for count, classes in ((6, 3), (40, 3), (25, 5), (1, 3)):
        outputs = torch.randn(count, classes, generator=generator)
        labels = torch.randint(classes, (count,), generator=generator)
        labels[: count // 2] = outputs[: count // 2].argmax(dim=1)
        cases.append((outputs, nn.functional.one_hot(labels, classes).float()))
    one_class = torch.tensor([[0.1, 0.8, 0.3], [0.4, 0.9, 0.2]])
    return [*cases, (one_class, torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]))]


def accuracy(outputs: Tensor, one_hot: Tensor) -> Tensor:
    return (outputs.argmax(dim=1) == one_hot.argmax(dim=1)).float().mean()


def accuracy_by_cells(outputs: Tensor, one_hot: Tensor) -> Tensor:
    answers = nn.functional.one_hot(outputs.argmax(dim=1), outputs.shape[1])
    return (answers == one_hot).float().mean()


def accuracy_by_columns(outputs: Tensor, one_hot: Tensor) -> Tensor:
    answers = torch.zeros_like(outputs)
    answers[:, outputs.argmax(dim=1)] = 1
    return (answers == one_hot).all(dim=1).float().mean()


def accuracy_by_column_cells(outputs: Tensor, one_hot: Tensor) -> Tensor:
    answers = torch.zeros_like(outputs)
    answers[:, outputs.argmax(dim=1)] = 1
    return (answers == one_hot).float().mean()


COLUMNS = (
    "answers[:, argmax] = 1 fills whole columns: index rows and columns together, [torch.arange(N), argmax], "
    "or compare the two argmaxes"
)

one_hot_accuracy = function_exercise(
    accuracy,
    one_hot_cases,
    [
        Mistake("you compare cells of the table: a row counts once, as right or wrong", accuracy_by_cells),
        Mistake(COLUMNS, accuracy_by_columns),
        Mistake(COLUMNS, accuracy_by_column_cells),
        Mistake(
            "argmax runs over the rows: the classes are axis 1, so argmax(dim=1)",
            lambda outputs, one_hot: (outputs.argmax(dim=0) == one_hot.argmax(dim=0)).float().mean(),
        ),
        Mistake(
            "that is the number of right rows: divide by how many rows there are",
            lambda outputs, one_hot: (outputs.argmax(dim=1) == one_hot.argmax(dim=1)).sum(),
        ),
    ],
    praise="One comparison of two argmaxes, and no table to fill wrongly.",
    hints=[
        "The network's answer for a row is the class with the largest output: argmax over the classes.",
        "A one-hot row's argmax is its class index.",
        "Compare the two, turn True/False into numbers with .float(), take the mean.",
    ],
)

# ----------------------------------------------------------------------------------------------------- training step


def step_models(generator: torch.Generator) -> list[tuple]:
    return [
        (
            torch.randn(3, 4, generator=generator),
            torch.randn(2, 8, 4, generator=generator),
            torch.randint(3, (2, 8), generator=generator),
        )
        for _ in range(2)
    ]


def run_two_steps(step: Callable, case: tuple) -> tuple | object:
    """Return the weights after one and two steps of SGD; where nothing moved, which parts of a step ran at all."""
    weight, inputs, labels = case
    model = nn.Linear(4, 3, bias=False)
    model.weight.data = weight.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    ran = set()
    model.weight.register_hook(lambda gradient: ran.add("backward"))
    optimizer.register_step_post_hook(lambda *arguments: ran.add("step"))
    after = []
    for batch, targets in zip(inputs, labels, strict=True):
        returned = step(model, optimizer, batch, targets)
        after.append(model.weight.detach().clone())
    if torch.equal(after[-1], weight):
        return ... if returned is ... else (*after, *sorted(ran))
    return tuple(after)


def softmax_first(outputs: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs.softmax(dim=1), labels)


def mse_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.mse_loss(outputs, nn.functional.one_hot(labels, outputs.shape[1]).float())


def written_step(order: str, sign: float = 1.0, loss_of: Callable = nn.functional.cross_entropy) -> Callable:
    """Return a training step whose parts run in the given order of letters: z(ero), b(ackward), s(tep)."""

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor) -> None:
        loss = sign * loss_of(model(inputs), labels)
        parts = {"z": optimizer.zero_grad, "b": loss.backward, "s": optimizer.step}
        for letter in order:
            parts[letter]()

    return step


training_step = function_exercise(
    written_step("zbs"),
    step_models,
    [
        Mistake(
            "the first step is right, the second is not: gradients add up, so zero the gradients in every step",
            written_step("bs"),
        ),
        Mistake(
            "nothing moves: you zeroed the gradients before the step could use them; zero, backward, step is the order",
            written_step("bzs"),
        ),
        Mistake("nothing moves: is optimizer.step() missing?", written_step("zb")),
        Mistake("nothing moves: without loss.backward() there is no gradient to step along", written_step("zs")),
        Mistake(
            "the step comes before the backward pass: it uses the gradients of the batch before", written_step("sb")
        ),
        Mistake("the step comes too early: it must follow the backward pass", written_step("szb")),
        Mistake("nothing moves: the backward pass and the optimizer's step are missing", written_step("z")),
        Mistake(
            "the loss is the squared error: this exercise asks for cross-entropy", written_step("zbs", 1.0, mse_loss)
        ),
        Mistake(
            "softmax comes before cross-entropy, which applies it itself: pass the outputs as they are",
            written_step("zbs", 1.0, softmax_first),
        ),
        Mistake(
            "the loss rises: check the sign, gradients are to be followed downhill", written_step("zbs", sign=-1.0)
        ),
    ],
    praise="Zero, forward, backward, step: every network in this course learns by these four lines.",
    hints=[
        "Four things happen: gradients to zero, forward pass with loss, backward pass, optimizer step.",
        "The loss is nn.functional.cross_entropy(model(inputs), labels).",
        "loss.backward() writes the gradients; optimizer.step() uses them; optimizer.zero_grad() clears them.",
    ],
    run=run_two_steps,
    otherwise="the weights after a step differ from what one step of cross-entropy gives: is the loss "
    "nn.functional.cross_entropy(model(inputs), labels), and are zero, backward and step there once each?",
)

# -------------------------------------------------------------------------------------------------------- dead units


def hidden_cases(generator: torch.Generator) -> list[tuple[Tensor]]:
    cases = []
    for rows, units, dead in ((200, 5, 2), (500, 8, 0), (300, 4, 4)):
        hidden = torch.randn(rows, units, generator=generator).relu()
        hidden[:, :dead] = 0
        if dead < units:
            hidden[:100, dead] = 0  # silent in the first rows only: not dead
        cases.append((hidden,))
    return cases


dead_units = function_exercise(
    lambda hidden: int((hidden == 0).all(dim=0).sum()),
    hidden_cases,
    [
        Mistake(
            "that is the share of zeros: dead means zero for all rows", lambda hidden: (hidden == 0).float().mean()
        ),
        Mistake("that counts zeros: dead means zero for all rows", lambda hidden: (hidden == 0).sum()),
        Mistake(
            "a unit that is zero for some rows is at work: dead means zero for all rows",
            lambda hidden: (hidden == 0).any(dim=0).sum(),
        ),
        Mistake(
            "you looked at the first rows only: use all training rows",
            lambda hidden: (hidden[:64] == 0).all(dim=0).sum(),
        ),
        Mistake(
            "the axis is wrong: units are columns, so look down the rows with dim=0",
            lambda hidden: (hidden == 0).all(dim=1).sum(),
        ),
        Mistake(
            "that is the share of dead units: return how many there are",
            lambda hidden: (hidden == 0).all(dim=0).float().mean(),
        ),
    ],
    praise="A unit that is silent for every row gets no gradient: its own weights no longer move.",
    hints=[
        "hidden has shape (rows, units). A unit is dead when its whole column is zero.",
        "(hidden == 0).all(dim=0) is True for each column of zeros.",
    ],
)

# -------------------------------------------------------------------------------------------------------- the 67 % trap

best_constant_mse = value_exercise(
    1 / 6,
    {
        0.5: "average over the three classes too: nn.MSELoss does",
        2 / 9: "that is what 1/3 each, or the majority's row (0, 1, 0), would cost: predict the shares (1/6, 2/3, 1/6)",
        2 / 3: "that is the accuracy of the constant answer, or an error that was not averaged: see hint(…)",
        5 / 36: "that is one column's error: take the mean over all three columns",
    },
    praise="A loss near 1/6 says: the network outputs about the class shares and hardly uses its inputs.",
    hints=[
        "The constant that makes a squared error smallest is the mean: for a one-hot column, the share of its class.",
        "With share p, a 0/1 column has the mean squared error p·(1 − p).",
        "Take the mean of p·(1 − p) over p = 1/6, 2/3, 1/6.",
    ],
)

trap_cause = choice_exercise(
    "d",
    {
        "a": "16 units a layer alone left every seed on the dotted line: which rows of the picture have left it?",
        "b": "cross-entropy alone left every seed on the dotted line: which rows of the picture have left it?",
        "c": "tanh alone left every seed on the dotted line: which rows of the picture have left it?",
    },
    praise="The network was learning all the time, only far too slowly to be seen in 1000 steps.",
    hints=["Look at the table of single changes again: which ones left the baseline at all?"],
)

stale_optimizer = choice_exercise(
    "b",
    {
        "a": "a small learning rate moves the loss a little: this one is the same to the last digit",
        "c": "dead units stop the hidden layers, but the output layer's biases would still move the loss",
        "d": "with a wrong loss function the numbers would still change as the weights change",
    },
    praise="The same to the last digit means that nothing which is optimized belongs to this model.",
    hints=[
        "What must be true of the weights if the loss repeats in all its digits?",
        "Whose parameters does the optimizer hold?",
    ],
)

EXERCISES = {
    "steps_per_epoch": steps_per_epoch,
    "parameter_count": parameter_count,
    "one_hot_accuracy": one_hot_accuracy,
    "training_step": training_step,
    "dead_units": dead_units,
    "best_constant_mse": best_constant_mse,
    "trap_cause": trap_cause,
    "stale_optimizer": stale_optimizer,
}
