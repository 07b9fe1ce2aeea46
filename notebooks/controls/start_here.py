"""Chapter 00's control: one slider that proves that widgets work on this computer."""

import numpy as np
from matplotlib.axes import Axes

from course_utils.controls import Control, slider
from course_utils.plotting import COLORS, new_figure


def draw_wave(axes: Axes, frequency: int) -> str:
    """Draw sin(2π·frequency·t) for a frequency in hertz."""
    t = np.linspace(0, 1, 400)
    axes.plot(t, np.sin(2 * np.pi * frequency * t), color=COLORS[0])
    return f"at {frequency} Hz the wave goes up and down {frequency} times in one second."


def wave_explorer() -> Control:
    """Return a slider for the frequency above a sine wave."""
    _, axes = new_figure(6, 2.2)
    axes.set(xlim=(0, 1), ylim=(-1.1, 1.1), xlabel="time [s]", ylabel="sin(2π·f·t)")
    return Control(draw_wave, axes, frequency=slider("frequency", 2, 1, 10, 1))
