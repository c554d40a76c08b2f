"""Where the parts of a chart go, in SVG's units; the report's template draws them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 14, 28
MOST_DATES = 7


@dataclass(frozen=True)
class Tick:
    """A mark on an axis and the text beside it."""

    at: float
    text: str


@dataclass(frozen=True)
class Point:
    """A value of a day; with bounds, it is drawn with a whisker."""

    x: float
    y: float
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Values that belong together; `lines` leave out the days without one."""

    name: str
    look: str
    points: list[Point]
    lines: list[str]


@dataclass(frozen=True)
class Level:
    """A value that holds for all days, drawn as a line across them."""

    y: float
    text: str
    look: str


@dataclass(frozen=True)
class Bar:
    """A part of a day's column."""

    x: float
    y: float
    width: float
    height: float
    look: str
    text: str


@dataclass(frozen=True)
class Value:
    """What a series knows of one day."""

    day: date
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Axes:
    """Turns days and values into places."""

    days: Sequence[date]
    low: float
    high: float

    @property
    def step(self) -> float:
        """The width of a day."""
        return (WIDTH - LEFT - RIGHT) / len(self.days)

    def x(self, day: date) -> float:
        """Return the middle of a day's column."""
        return round(LEFT + self.step * (self.days.index(day) + 0.5), 1)

    def y(self, value: float) -> float:
        """Return the height of a value, the highest at the top."""
        share = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)

    def day_ticks(self) -> list[Tick]:
        """Name the days, leaving some out where there are many; the last is always named."""
        every = math.ceil(len(self.days) / MOST_DATES)
        last = len(self.days) - 1
        chosen = [day for n, day in enumerate(self.days) if (last - n) % every == 0]
        return [Tick(self.x(day), f"{day.day} {day:%b}") for day in chosen]

    def value_ticks(self, unit: str = "") -> list[Tick]:
        """Name round values."""
        found = round_values(self.low, self.high)
        places = max(0, -math.floor(math.log10(found[1] - found[0]) + 1e-9))
        shown = [value * (100 if unit == "%" else 1) for value in found]
        digits = max(0, places - 2) if unit == "%" else places
        pairs = zip(found, shown, strict=True)
        return [Tick(self.y(value), f"{text:,.{digits}f}{unit}") for value, text in pairs]


@dataclass(frozen=True)
class Chart:
    """All that is drawn; `legend` names each look that is not written into the chart."""

    title: str
    summary: str
    where: Axes
    unit: str = ""
    series: list[Series] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM

    @property
    def empty(self) -> bool:
        """Whether no day has a value."""
        return not self.bars and not any(one.points for one in self.series)


def axes(days: Sequence[date], values: Sequence[float], *, from_zero: bool = False) -> Axes:
    """Choose bounds that hold all values, ending on round ones."""
    low = 0.0 if from_zero else min(values, default=0.0)
    high = max(values, default=1.0)
    if high - low < 1e-9:
        high = low + (abs(low) or 1.0) * 0.1
    step = round_step(low, high)
    return Axes(days, math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


def round_step(low: float, high: float) -> float:
    """Return the round distance that cuts a range into about five."""
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    return float(next(size * part for part in (1, 2, 5, 10) if size * part >= rough * 0.999))


def round_values(low: float, high: float) -> list[float]:
    """List the round values of a range that starts and ends on one."""
    step = round_step(low, high)
    return [low + step * n for n in range(round((high - low) / step) + 1)]


def series(
    where: Axes, name: str, look: str, values: Sequence[Value], digits: int, shift: float = 0
) -> Series:
    """Place a series, `shift` beside the days' middles; a missing day cuts its line."""
    points = {value.day: _point(where, name, value, digits, shift) for value in values}
    lines: list[list[str]] = [[]]
    for day in where.days:
        if day in points:
            lines[-1].append(f"{points[day].x},{points[day].y}")
        elif lines[-1]:
            lines.append([])
    joined = [" ".join(line) for line in lines if len(line) > 1]
    return Series(name, look, list(points.values()), joined)


def _point(where: Axes, name: str, value: Value, digits: int, shift: float) -> Point:
    x, y = round(where.x(value.day) + shift, 1), where.y(value.value)
    text = f"{value.day}: {name} {value.value:.{digits}f}"
    if value.low is None or value.high is None:
        return Point(x, y, text)
    text += f" ({value.low:.{digits}f} to {value.high:.{digits}f})"
    return Point(x, y, text, where.y(value.low), where.y(value.high))


def stacked(where: Axes, day: date, parts: Sequence[tuple[int, str, str]]) -> list[Bar]:
    """Place one day's column, its parts of (count, look, text) from the bottom up."""
    width = round(min(where.step * 0.62, 44), 1)
    x = round(where.x(day) - width / 2, 1)
    bars, below = [], 0
    for count, look, text in parts:
        y, bottom = where.y(below + count), where.y(below)
        if count:
            bars.append(Bar(x, y, width, round(bottom - y, 1), look, f"{day}: {count:,} {text}"))
        below += count
    return bars
