"""Chapter 00: other answers."""

MEAN = "def mean(values):\n"

WRONG = {
    "00/pixels": [
        ("pixels = '784'", "expected a number"),
        ("pixels = None", "give a number"),
        ("pixels = True", "expected a number"),
        ("pixels = 10 * 28 * 28", "the pixels of all ten pictures"),
        ("pixels = 783", "783 is not it"),
        ("pixels = [784, 784]", "expected a number, got [784, 784]"),
        ("pixels = float('nan')", "not it"),
    ],
    "00/mean": [
        (MEAN + "    sum(values) / len(values)", "is the return missing"),
        (MEAN + "    return total / len(values)", "raised NameError"),
        (MEAN + "    return round(sum(values) / len(values))", "you rounded: keep the decimals"),
        (MEAN + "    return int(sum(values) / len(values))", "you cut the decimals off"),
        (MEAN + "    return np.floor(np.mean(values))", "rounds down"),
        (MEAN + "    return sum([3, 1, 2]) / 3", "for values = [1, 2, 8]: expected 3.6667, got 2"),
        (MEAN + "    print(sum(values) / len(values))", "is the return missing"),
        (MEAN + "    return sum(values) / 3", "for values = [5]: expected 5, got 1.6667"),
        (MEAN + "    return [sum(values) / len(values)]", "expected 3.6667, got [3.6667]"),
        (MEAN + "    raise SystemExit", "raised SystemExit"),
        ("mean = 3", "expected a function, got int"),
    ],
}

RIGHT = [
    ("00/pixels", "pixels = torch.tensor([784.0])"),
    ("00/mean", MEAN + "    return np.mean(values)"),
    ("00/mean", "def mean(numbers):\n    return torch.tensor(numbers).mean()"),
]
