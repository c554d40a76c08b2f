"""Late arrivals out of New York, from what is known an hour before the scheduled departure."""

import polars as pl

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
NAMES = ("carrier", "origin", "dest")


def features(tables: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
    """One row per scheduled flight: id, what is known beforehand, and `late` (null: no arrival)."""
    seen = pl.col("time_hour").dt.offset_by("1h")  # by then an hour's weather is history
    weather = tables["weather"].select("origin", *WEATHER, seen=seen).sort("seen")
    planes = tables["planes"].select("tailnum", "seats", built="year")
    flights = tables["flights"].sort("time_hour", "carrier", "flight", "origin")
    flights = flights.with_columns(seen="time_hour").join_asof(
        weather, on="seen", by="origin", tolerance="6h", check_sortedness=False
    )
    return flights.join(planes, on="tailnum", how="left", maintain_order="left").select(
        pl.format("{}{} {} {}", "carrier", "flight", "origin", "time_hour").alias("id"),
        pl.col("time_hour").alias("time"),
        *NAMES,
        pl.col("time_hour").dt.weekday().alias("weekday"),
        *("sched_dep_time", "sched_arr_time", "distance"),
        pl.len().over("origin", "time_hour").alias("traffic"),
        pl.col(*WEATHER, "seats").cast(pl.Float64),
        (pl.col("year") - pl.col("built")).cast(pl.Float64).alias("age"),
        (pl.col("arr_delay") > 15).alias("late"),
    )


def model() -> object:
    """Boosted trees over the flights' names as codes."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier as Boosting
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    trees = Boosting(learning_rate=0.05, max_iter=200, max_leaf_nodes=15, random_state=0)
    return make_pipeline(make_column_transformer((codes, NAMES), remainder="passthrough"), trees)
