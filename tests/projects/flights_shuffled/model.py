"""The flights model's obvious columns with labels that belong to other flights."""

import polars as pl

NAMES = ("carrier", "origin", "dest")


def features(tables: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
    """One row per flight; `late` is that of a flight drawn at random from the same day."""
    return tables["flights"].select(
        pl.format("{}{} {} {}", "carrier", "flight", "origin", "time_hour").alias("id"),
        *NAMES,
        "sched_dep_time",
        "distance",
        (pl.col("arr_delay") > 15).shuffle(seed=7).alias("late"),
    )


def model() -> object:
    """Boosted trees, which would find something if there were anything."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encoded = make_column_transformer((codes, NAMES), remainder="passthrough")
    return make_pipeline(encoded, HistGradientBoostingClassifier(random_state=0))
