"""Chapter 00's control: one slider that proves that widgets work on this computer."""

import numpy as np

from course_utils.plotting import COLORS, new_figure
from course_utils.widgets.canvas import Explorer, explore, slider


class WavePicture:
    """A sine wave whose frequency follows a slider."""

    def __init__(self) -> None:
        self.figure, axes = new_figure(6, 2.2)
        self.x = np.linspace(0, 1, 400)
        (self.line,) = axes.plot(self.x, self.x, color=COLORS[0])
        self.moving = [self.line]
        axes.set(ylim=(-1.1, 1.1), xlim=(0, 1), xlabel="time [s]", ylabel="sin(2π·f·t)")

    def update(self, frequency: float) -> str:
        """Draw sin(2π·frequency·t) for a frequency in hertz."""
        self.line.set_ydata(np.sin(2 * np.pi * frequency * self.x))
        return f"frequency = {frequency:g} Hz: the wave goes up and down {frequency:g} times in one second."


def wave_explorer() -> Explorer:
    """Return a slider for the frequency above a sine wave."""
    return explore(WavePicture(), frequency=slider("frequency", 2, 1, 10, 1))
