"""Made-up parcels: heavy ones and those with many stops take long, until the world turns."""

import random
from datetime import date

import polars as pl

ROWS = 200
TURNED = date(2013, 3, 9)


def tables(day: date) -> dict[str, pl.DataFrame]:
    """Return one day's parcels, the same ones whenever asked."""
    dice = random.Random(str(day))
    return {"parcels": pl.DataFrame([parcel(dice, f"{day}-{n}", day) for n in range(ROWS)])}


def parcel(dice: random.Random, name: str, day: date) -> dict[str, str | int | float]:
    """Return one parcel and the hours it took; from TURNED on, the light ones are slow."""
    weight, stops = round(dice.uniform(0, 30), 1), dice.randint(1, 9)
    hours = weight + 2 * stops + dice.gauss(0, 6)
    return {
        "id": name,
        "depot": dice.choice(["north", "south"]),
        "weight": weight,
        "stops": stops,
        "hours": hours if day < TURNED else 48 - hours,
    }
