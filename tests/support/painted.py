"""The painted cells of a screen."""

from rich.color import Color
from rich.segment import Segment


def contrast(segment: Segment) -> float:
    assert segment.style is not None
    assert segment.style.color is not None
    assert segment.style.bgcolor is not None
    dark, light = sorted(map(luminance, (segment.style.color, segment.style.bgcolor)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: Color) -> float:
    def linear(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(value) for value in colour.get_truecolor())
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
