"""Chapter 01's exercises: parameters, gradients, a training step, the trap, dead units, a metric, epochs."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_utils.exercises import choice, function, table, value

parameter_count = value(
    right="parameter_count = (3 * 5 + 5) + (5 * 5 + 5) + (5 * 5 + 5) + (5 * 3 + 3)",
    slips=[
        ("these are the weights only: the biases are missing, one for each of the 5 + 5 + 5 + 3 neurons", 80),
        ("the three biases of the output layer are missing", "(5 * 3 + 3)", "(5 * 3)"),
        ("a 5 → 5 layer is missing: there are three hidden layers, so two steps from 5 to 5", 68),
        ("these are the biases only: add one weight for each connection", 18),
        ("one bias for each neuron, not one for each layer", 84),
        ("one 5 → 5 layer too many: there are three hidden layers, so two steps from 5 to 5", 128),
        ("the hidden layers' biases are missing: one for each of their 15 neurons", 83),
    ],
    praise="(3·5 + 5) + (5·5 + 5) + (5·5 + 5) + (5·3 + 3) = 98.",
)

gradients = table(
    right='gradients = {"v": (0, 6), "c": 2, "w": (0, -20), "b": (0, 10)}',
    slips=[
        ("the derivative of (output − target)² is 2·(output − target): the 2 is missing", "(0, 6)", "(0, 3)"),
        ("with these numbers output − target is 1: what is 2·(output − target)?", '"c": 2', '"c": 4'),
        ("the derivative of (output − target)² is 2·(output − target): the 2 is missing", '"c": 2', '"c": 1'),
        ("multiply by the neuron's output after ReLU, not by its sum", "(0, 6)", "(-2, 6)"),
        ("the first neuron comes first; with x = −2 it is the one that is off", "(0, 6)", "(6, 0)"),
        ("the first neuron is off with x = −2: nothing comes back through its ReLU", "(0, -20)", "(-8, -20)"),
        ("the input is −2, so the sign turns", "(0, -20)", "(0, 20)"),
        ("the sum's gradient is not all: w is multiplied by x", "(0, -20)", "(0, 10)"),
        ("the first neuron comes first; with x = −2 it is the one that is off", "(0, -20)", "(-20, 0)"),
        ("the first neuron is off with x = −2: nothing comes back through its ReLU", "(0, 10)", "(4, 10)"),
        ("b is not multiplied by x: its gradient is the sum's", "(0, 10)", "(0, -20)"),
    ],
    praise="Now the first neuron is the one that learns nothing: which one is off depends on the input.",
)


def two_steps(step: Callable, loss_function: str) -> object:
    """Return two steps' losses and the weights after them; where nothing moved, which parts of a step ran at all."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(4, 3, bias=False)
    start = torch.randn(3, 4, generator=generator)
    model.weight.data = start.clone()
    inputs, labels = torch.randn(2, 8, 4, generator=generator), torch.randint(3, (2, 8), generator=generator)
    judge, targets = nn.CrossEntropyLoss(), labels
    if loss_function == "mean squared error":
        judge, targets = nn.MSELoss(), nn.functional.one_hot(labels, 3).float()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    ran, losses, after = set(), [], []
    model.weight.register_hook(lambda gradient: ran.add("backward"))
    optimizer.register_step_post_hook(lambda *arguments: ran.add("step"))
    for batch, wanted in zip(inputs, targets, strict=True):
        returned = step(model, optimizer, judge, batch, wanted)
        if returned is ...:
            return ...
        losses.append(str(type(returned)) if isinstance(returned, Tensor) else returned)
        after.append(model.weight.detach().clone())
    return (*losses, *sorted(ran)) if torch.equal(after[-1], start) else (*losses, *after)


ZERO, BACK, STEP = "    optimizer.zero_grad()\n", "    loss.backward()\n", "    optimizer.step()\n"
ORDER, RETURN = ZERO + BACK + STEP, "    return loss.item()\n"
LOSS = "loss_function(model(inputs), targets)"

training_step = function(
    right=f"""
def training_step(model, optimizer, loss_function, inputs, targets):
    loss = {LOSS}
{ORDER}{RETURN}""",
    cases=[("cross-entropy",), ("mean squared error",)],
    slips=[
        ("the first step is right, the second is not: gradients add up, so zero the gradients in every step", ZERO, ""),
        ("nothing moves: you zeroed the gradients before the step could use them; zero, backward, step is the order",
         ORDER, BACK + ZERO + STEP),
        ("nothing moves: is optimizer.step() missing, or its brackets?", STEP, ""),
        ("nothing moves: without loss.backward() there is no gradient to step along; are its brackets there?",
         BACK, ""),
        ("the step comes before the backward pass: it uses the gradients of the batch before",
         ORDER, STEP + ZERO + BACK),
        ("nothing moves: the backward pass and the optimizer's step are missing", BACK + STEP, ""),
        ("use the loss function that comes in: here it is not always cross-entropy",
         LOSS, "nn.functional.cross_entropy(model(inputs), targets)"),
        ("softmax comes before the loss: pass the outputs as they are", "model(inputs)", "model(inputs).softmax(1)"),
        ("the loss rises: check the sign, gradients are to be followed downhill", LOSS, "-" + LOSS),
        ("the step is right; return its loss too: return loss.item()", RETURN, ""),
        ("loss is a tensor that keeps its whole computation alive: return the plain number, loss.item()",
         "loss.item()", "loss"),
    ],
    praise="Forward, zero, backward, step: every network in this course learns by these four lines.",
    run=two_steps,
    otherwise="a step leaves other weights, or returns another loss, than it should: is it "
    "loss_function(model(inputs), targets), and are zero, backward and step there once each?",
)  # fmt: skip


best_constant_mse = value(
    right="best_constant_mse = sum(p * (1 - p) for p in (1 / 6, 2 / 3, 1 / 6)) / 3",
    slips=[
        ("average over the three classes too: nn.MSELoss does", ") / 3", ")"),
        ("that is what 1/3 each, or the row (0, 1, 0), would cost: predict the shares (1/6, 2/3, 1/6)", 2 / 9),
        ("that is the accuracy of the constant answer, or an error that was not averaged", 2 / 3),
        ("that is one column's error: take the mean over all three columns", 5 / 36),
    ],
    praise="A loss near 1/6 says: the network outputs about the class shares and hardly uses its inputs.",
    tolerance=1e-3,
)

trap_cause = choice(
    right='trap_cause = "d"',
    wrong={
        "a": "16 units a layer alone left every seed on the dotted line: which rows of dots have left it?",
        "b": "cross-entropy alone left every seed on the dotted line: which rows of dots have left it?",
        "c": "tanh alone left every seed on the dotted line: which rows of dots have left it?",
    },
    praise="The network was learning all the time, only far too slowly to be seen in 1000 steps.",
)


# ----------------------------------------------------------------------------------------------------- the lab

silent_layer = choice(
    right='silent_layer = "b"',
    wrong={
        "a": "if the first layer were silent, only a constant would reach the second: then 2.weight is 0 for sure, but "
        "2.bias and what lies behind it need not be; here 2.bias is exactly 0",
        "c": "if the third layer were silent, nothing would come back through its ReLUs: 4.bias would be exactly 0",
        "d": "the output layer has no ReLU: it cannot fall silent",
    },
    praise="4.bias gets something, so the third layer is on; 4.weight gets nothing, because its inputs are 0.",
)


def hidden_cases(generator: torch.Generator) -> list[tuple[Tensor]]:
    """Draw outputs of ReLUs (rows, units); some units are dead, one is silent at first, on once, or barely on."""
    cases = []
    for rows, units, dead in ((200, 5, 2), (500, 8, 0), (300, 4, 4)):
        hidden = torch.randn(rows, units, generator=generator).relu()
        hidden[:, :dead] = 0
        if dead < units:
            hidden[:100, dead] = 0  # silent in the first rows only: not dead
        cases.append((hidden,))
    rare = torch.randn(400, 4, generator=generator).relu()
    rare[:, 0], rare[:, 1], rare[:, 2] = 0, 0, 0.001
    rare[399, 1] = 1.0
    return [*cases, (rare,)]


dead_units = function(
    right="""
def dead_units(hidden):
    return int((hidden == 0).all(dim=0).sum())
""",
    cases=hidden_cases,
    slips=[
        ("that is the share of zeros: dead means zero for all rows", "int((hidden == 0).all(dim=0).sum())",
         "(hidden == 0).float().mean()"),
        ("that counts zeros: dead means zero for all rows", ".all(dim=0)", ""),
        ("a neuron that is zero for some rows is at work: dead means zero for all rows", ".all(", ".any("),
        ("you looked at the first rows only: use all training rows", "(hidden ", "(hidden[:64] "),
        ("the axis is wrong: neurons are columns, so look down the rows with dim=0", "dim=0", "dim=1"),
        ("that is the share of dead neurons: return how many there are", "int((hidden == 0).all(dim=0).sum())",
         "(hidden == 0).all(dim=0).float().mean()"),
        ("after ReLU nothing is negative: dead means exactly 0, hidden == 0", "hidden == 0", "hidden < 0"),
        ("a neuron that is on for one row, or only a little, is not dead: ask each value, hidden == 0, not their mean",
         "(hidden == 0).all(dim=0)", "(hidden.mean(dim=0) < 0.01)"),
    ],
    praise="A neuron that is silent for every row gets no gradient: its own weights no longer move.",
)  # fmt: skip


def one_hot_cases(generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Draw outputs and one-hot labels, half of them answered rightly; of the last, every answer is class 1."""
    cases = []
    for count, classes in ((6, 3), (40, 3), (25, 5), (1, 3)):
        outputs = torch.randn(count, classes, generator=generator)
        labels = torch.randint(classes, (count,), generator=generator)
        labels[::2] = outputs[::2].argmax(dim=1)
        cases.append((outputs, nn.functional.one_hot(labels, classes).float()))
    return [*cases, (torch.tensor([[0.1, 0.8, 0.3], [0.4, 0.9, 0.2]]), torch.tensor([[0.0, 1, 0], [0, 1, 0]]))]


COMPARE = "(outputs.argmax(dim=1) == one_hot.argmax(dim=1)).float().mean()"
COLUMNS = (
    "answers[:, argmax] = 1 fills whole columns: index rows and columns together, [torch.arange(N), argmax], "
    "or compare the two argmaxes"
)
FILLED = "(torch.zeros_like(outputs).index_fill(1, outputs.argmax(dim=1), 1) == one_hot)"

one_hot_accuracy = function(
    right=f"""
def one_hot_accuracy(outputs, one_hot):
    return {COMPARE}
""",
    cases=one_hot_cases,
    slips=[
        ("you compare cells of the table: a row counts once, as right or wrong",
         COMPARE, "(nn.functional.one_hot(outputs.argmax(1), outputs.shape[1]) == one_hot).float().mean()"),
        (COLUMNS, COMPARE, FILLED + ".all(dim=1).float().mean()"),
        (COLUMNS, COMPARE, FILLED + ".float().mean()"),
        ("argmax runs over the rows: the classes are axis 1, so argmax(dim=1)", "dim=1", "dim=0"),
        ("argmax without dim gives one place in the whole table: argmax(dim=1)", "dim=1", ""),
        ("compare class with class: the argmax of one_hot is the label of its row", "one_hot.argmax(dim=1)", "one_hot"),
        ("that is the number of right rows: divide by how many rows there are", ".float().mean()", ".sum()"),
        ("that says for each row whether it is right: take the mean", ".mean()", ""),
        ("this is in percent: return a share from 0 to 1", ".mean()", ".mean() * 100"),
        ("True and False have no mean: turn them into numbers with .float() first", ".float()", ""),
    ],
    praise="One comparison of two argmaxes, and no table to fill wrongly.",
)  # fmt: skip

steps_per_epoch = function(
    right="""
def steps_per_epoch(rows, batch_size):
    return math.ceil(rows / batch_size)
""",
    cases=[(10_240, 1024), (7000, 64), (7000, 7000), (5, 8), (1, 1)],
    slips=[
        ("the smaller last batch is a step too: round up, not down", "math.ceil", "math.floor"),
        ("steps are whole: the last batch may be smaller, but it is one step", "math.ceil", ""),
        ("count updates, not rows: one batch makes one step", "math.ceil(rows / batch_size)", "rows"),
        ("one step too many where batch_size divides the rows: 10240 rows in batches of 1024 are 10 steps",
         "math.ceil(rows / batch_size)", "rows // batch_size + 1"),
    ],
    praise="10 240 rows in batches of 1024 make 10 steps an epoch, so 50 in 5 epochs.",
)  # fmt: skip

stale_optimizer = choice(
    right='stale_optimizer = "b"',
    wrong={
        "a": "a small learning rate moves the loss a little: this one is the same to the last digit",
        "c": "dead neurons stop the hidden layers, but the output layer's biases would still move the loss",
        "d": "with a wrong loss function the numbers would still change as the weights change",
    },
    praise="The same to the last digit means that nothing which is optimized belongs to this model.",
)
