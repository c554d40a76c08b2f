"""The report's charts as plotting libraries draw them; only `chart_libraries` asks for it.

The libraries are not in our lock, so they are imported by name where they are installed.
"""

from __future__ import annotations

import html
import io
import json
import re
from dataclasses import dataclass, field
from datetime import date
from importlib import import_module
from types import ModuleType
from typing import Any

from ml.monitoring.svg import Value


@dataclass(frozen=True)
class Picture:
    """What one chart shows, before anything is placed."""

    title: str
    summary: str
    days: list[date]
    unit: str = ""
    from_zero: bool = True
    digits: int = 3
    series: list[tuple[str, str, list[Value]]] = field(default_factory=list)
    levels: list[tuple[float, str, str]] = field(default_factory=list)
    columns: list[tuple[date, str, int, str]] = field(default_factory=list)


def told(day: date, name: str, value: Value, digits: int) -> str:
    """Say a value in words."""
    text = f"{day}: {name} {value.value:.{digits}f}"
    if value.low is None:
        return text
    return f"{text} ({value.low:.{digits}f} to {value.high:.{digits}f})"


# With Altair, whose SVG is drawn by Vega in the JavaScript engine that vl-convert brings.


def altair_spec(picture: Picture) -> dict[str, object]:
    """Describe a chart to Vega-Lite."""
    alt = import_module("altair")
    names = [f"{day.day} {day:%b}" for day in picture.days]
    labels = alt.Axis(
        title=None, grid=False, ticks=False, domain=False, labelAngle=0, values=names[::-1][::3]
    )
    x = alt.X("day:O", scale=alt.Scale(domain=names), axis=labels)
    shown = alt.Axis(
        title=None,
        tickCount=5,
        ticks=False,
        domain=False,
        **({"format": ".0%"} if picture.unit else {}),
    )
    y = alt.Y("value:Q", scale=alt.Scale(zero=picture.from_zero, nice=True), axis=shown)
    layers = altair_columns(alt, picture, x, y) + altair_levels(alt, picture)
    for place in range(len(picture.series)):
        layers += altair_series(alt, picture, place, x, y)
    chart = (
        alt.layer(*layers)
        .properties(width=404, height=208)
        .configure(background="transparent", font="inherit")
        .configure_view(stroke=None)
        .configure_axis(labelColor="var(--soft)", labelFontSize=11.5, gridColor="var(--grid)")
    )
    return dict(chart.to_dict())


def altair_series(
    alt: ModuleType, picture: Picture, place: int, x: object, y: object
) -> list[object]:
    """Layer whiskers, line and points; a day without a value cuts the line."""
    name, look, seen = picture.series[place]
    by_day = {value.day: value for value in seen}
    rows = [
        {
            "day": f"{day.day} {day:%b}",
            "value": by_day[day].value if day in by_day else None,
            "low": by_day[day].low if day in by_day else None,
            "high": by_day[day].high if day in by_day else None,
            "told": told(day, name, by_day[day], picture.digits) if day in by_day else "",
        }
        for day in picture.days
    ]
    hue = {"color": f"var(--{look})", "xOffset": place * 6}
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    known = base.transform_filter("datum.value !== null")
    bounds = known.transform_filter("datum.low !== null").mark_rule(
        strokeWidth=5, strokeCap="round", opacity=0.28, aria=False, **hue
    )
    dots = known.mark_circle(size=40, opacity=1, stroke="var(--card)", strokeWidth=1.5, **hue)
    line = base.mark_line(strokeWidth=2, strokeJoin="round", aria=False, **hue)
    drawn = [line.encode(y=y), dots.encode(y=y, description="told:N")]
    if any(value.low is not None for value in seen):
        drawn.insert(0, bounds.encode(y=alt.Y("low:Q"), y2="high:Q"))
    return drawn


def altair_levels(alt: ModuleType, picture: Picture) -> list[object]:
    """Layer the lines across."""
    return [
        alt.Chart(alt.Data(values=[{"value": value}]))
        .mark_rule(color=f"var(--{look})", strokeWidth=1.5, strokeDash=[5, 4], aria=False)
        .encode(y="value:Q")
        for value, _, look in picture.levels
    ]


def altair_columns(alt: ModuleType, picture: Picture, x: object, y: object) -> list[object]:
    """Layer the stacked columns."""
    if not picture.columns:
        return []
    rows = [
        {"day": f"{day.day} {day:%b}", "value": n, "look": look, "told": f"{day}: {n:,} {text}"}
        for day, look, n, text in picture.columns
    ]
    looks = ["labelled", "waiting", "refused"]
    hues = alt.Scale(domain=looks, range=["var(--own)", "var(--waiting)", "var(--refused)"])
    order = alt.Order("rank:Q")
    return [
        alt.Chart(alt.Data(values=rows))
        .transform_calculate(rank=f"indexof({looks}, datum.look)")
        .mark_bar(width={"band": 0.62})
        .encode(x=x, y=y, order=order, description="told:N")
        .encode(color=alt.Color("look:N", scale=hues, legend=None))
    ]


def altair(picture: Picture) -> str:
    """Draw a chart; labels become tooltips, and the size follows the page."""
    svg = import_module("vl_convert").vegalite_to_svg(altair_spec(picture))
    svg = re.sub(r'(<path aria-label="([^"]*)"[^>]*)/>', r"\1><title>\2</title></path>", svg)
    return re.sub(r"<svg.*?(viewBox=\"[^\"]*\")>", rf"<svg \1 {label(picture)}>", svg, count=1)


def label(picture: Picture) -> str:
    """Name a picture to those who do not see it."""
    return f'role="img" aria-label="{html.escape(f"{picture.title}: {picture.summary}")}"'


# With Altair and Vega's own scripts within the page, which draw in the browser.


def scripted(pictures: list[Picture]) -> tuple[str, list[str]]:
    """Return the scripts, and an element for every chart."""
    script = import_module("vl_convert").javascript_bundle("window.vegaEmbed = vegaEmbed;")
    charts = []
    for place, picture in enumerate(pictures):
        spec = json.dumps(altair_spec(picture), sort_keys=True)
        call = f'vegaEmbed("#chart-{place}", {spec}, {{renderer: "svg", actions: false}})'
        charts.append(f'<div id="chart-{place}"></div><script type="module">{call}</script>')
    return script, charts


# With Matplotlib, which knows no CSS: each look has a colour of its own until the end.

LOOKS = ("own", "truth", "other-1", "labelled", "waiting", "refused", "gate", "watch", "retrain")
HUES = {
    look: f"#0101{place + 17:02x}" for place, look in enumerate((*LOOKS, "grid", "soft", "card"))
}


@dataclass(frozen=True)
class Canvas:
    """Where a chart is drawn, and the tooltips of what has been drawn."""

    picture: Picture
    axis: Any
    titles: dict[str, str] = field(default_factory=dict)

    def told(self, day: date, look: str, text: str) -> str:
        """Keep a tooltip; returns the id that marks its place."""
        self.titles[f"{self.picture.title}-{look}-{day}"] = text
        return f"{self.picture.title}-{look}-{day}"


def matplotlib(picture: Picture) -> str:
    """Draw a chart, then write our variables and tooltips into it."""
    settings = {"svg.fonttype": "none", "svg.hashsalt": picture.title, "font.size": 11.5}
    with import_module("matplotlib").rc_context(settings):
        figure = import_module("matplotlib.figure").Figure(figsize=(460 / 72, 250 / 72))
        axis = figure.add_axes((44 / 460, 28 / 250, 404 / 460, 208 / 250))
        canvas = Canvas(picture, axis)
        matplotlib_axes(canvas)
        matplotlib_columns(canvas)
        for value, _, look in picture.levels:
            axis.axhline(value, color=HUES[look], linewidth=1.5, dashes=(3.3, 2.7))
        for place in range(len(picture.series)):
            matplotlib_series(canvas, place)
        if picture.from_zero:
            axis.set_ylim(bottom=0)
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return finished(file.getvalue(), canvas)


def matplotlib_axes(canvas: Canvas) -> None:
    """Name days and values, and draw nothing but the grid."""
    axis, days = canvas.axis, canvas.picture.days
    places = list(range(len(days)))[::-1][::3]
    axis.set_xticks(places, [f"{days[place].day} {days[place]:%b}" for place in places])
    axis.set_xlim(-0.5, len(days) - 0.5)
    axis.set_frame_on(False)
    axis.tick_params(length=0, labelcolor=HUES["soft"])
    axis.grid(axis="y", color=HUES["grid"], linewidth=1)
    axis.set_axisbelow(True)
    axis.locator_params(axis="y", nbins=5)
    if canvas.picture.unit:
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def matplotlib_series(canvas: Canvas, place: int) -> None:
    """Draw whiskers, line and points; a day without a value cuts the line."""
    name, look, seen = canvas.picture.series[place]
    by_day, days, hue = {value.day: value for value in seen}, canvas.picture.days, HUES[look]
    shift = place * 6 / 404 * len(days)
    heights = [by_day[day].value if day in by_day else float("nan") for day in days]
    canvas.axis.plot([n + shift for n in range(len(days))], heights, color=hue, linewidth=2)
    wide = {"linewidth": 5, "alpha": 0.28, "solid_capstyle": "round"}
    edge = {"markersize": 7, "markeredgecolor": HUES["card"], "markeredgewidth": 1.5}
    for value in seen:
        x = days.index(value.day) + shift
        if value.low is not None:
            canvas.axis.plot([x, x], [value.low, value.high], color=hue, **wide)
        gid = canvas.told(value.day, look, told(value.day, name, value, canvas.picture.digits))
        canvas.axis.plot([x], [value.value], "o", color=hue, gid=gid, **edge)


def matplotlib_columns(canvas: Canvas) -> None:
    """Draw the stacked columns."""
    below: dict[date, int] = {}
    for day, look, count, text in canvas.picture.columns:
        place, start = canvas.picture.days.index(day), below.get(day, 0)
        (bar,) = canvas.axis.bar([place], [count], 0.62, bottom=start, color=HUES[look])
        bar.set_gid(canvas.told(day, look, f"{day}: {count:,} {text}"))
        below[day] = start + count


def finished(svg: str, canvas: Canvas) -> str:
    """Put variables, tooltips and a label in; drop what a page has no use for."""
    for look, hue in HUES.items():
        svg = svg.replace(hue, f"var(--{'own' if look == 'labelled' else look})")
    for gid, text in canvas.titles.items():
        svg = svg.replace(f'<g id="{gid}">', f"<g><title>{html.escape(text)}</title>")
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    box = re.findall(r'viewBox="[^"]*"', svg)[0]
    return f"<svg {box} {label(canvas.picture)}>{svg[svg.index('<svg') :].split('>', 1)[1]}"
