"""Will a parcel be late? A model that is trained in a moment."""

import polars as pl


def features(tables: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
    """One row per parcel: what is known when it leaves, and `late`."""
    late = pl.col("hours") > 24
    return tables["parcels"].select("id", "depot", "weight", "stops", late=late)


def model() -> object:
    """Return a logistic regression."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    names = OneHotEncoder(handle_unknown="ignore")
    encoded = make_column_transformer((names, ["depot"]), remainder="passthrough")
    return make_pipeline(encoded, SimpleImputer(), LogisticRegression(max_iter=1000))
