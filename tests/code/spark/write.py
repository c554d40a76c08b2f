"""How Spark wrote the files beside this one: `python write.py`, with pyspark 3.5 and a Java 17.

Columns are named as in writers.py; the clocks are New York's.
"""

import shutil
from pathlib import Path

from pyspark.sql import SparkSession

ZONE = "America/New_York"
FILES = {
    "as_it_comes": {},
    "micros": {"outputTimestampType": "TIMESTAMP_MICROS"},
    "legacy": {"outputTimestampType": "TIMESTAMP_MILLIS", "writeLegacyFormat": "true"},
}
TYPES = {
    "int": "tinyint smallint int bigint decimal(20,0) double",
    "float": "float double decimal(4,2) decimal(10,2) decimal(18,4) decimal(38,18)",
    "str": "string binary",
    "bool": "boolean",
    "datetime": "timestamp timestamp_ntz",
    "date": "date timestamp_ntz",
}
VALUES = {
    "int": (1, 100, 7),
    "float": (1.5, -0.25, 20.0),
    "str": ("north", "Zürich", ""),
    "bool": ("true", "false", "true"),
    "datetime": ("2024-03-09 12:30:00", "2024-03-10 23:59:59", "2024-07-01 00:00:00"),
    "date": ("2024-03-09", "2024-02-29", "1969-12-31"),
}
# The day that docs/landing.md lands, on New York's clocks.
PARCELS = """
select * from values
  (1L, timestamp'2024-03-08 09:30:00', cast(2 as decimal(10,2)), 20.5D),
  (2L, timestamp'2024-03-08 23:59:00', cast(3 as decimal(10,2)), null)
as parcels (id, sent, weight, hours)
"""
NONE = {"array": "array(1)", "struct": "struct(1 as a)", "map": "map('a', 1)"}


def row(n: int) -> str:
    texts = []
    for kind, types in TYPES.items():
        for dtype in types.split():
            value = f"'{VALUES[kind][n]}'"
            # A comma in a name confuses Spark's own reader.
            name = dtype.replace("(", "_").replace(",", "_").replace(")", "")
            texts.append(f"cast({value} as {dtype}) as `{kind}__{name}`")
            gap = "null" if n == 2 else value
            texts.append(f"cast({gap} as {dtype}) as `{kind}__{name}_gap`")
    texts += [f"{text} as `none__{name}`" for name, text in NONE.items()]
    return "select " + ", ".join(texts)


def main() -> None:
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.session.timeZone", ZONE).getOrCreate()
    write(spark, PARCELS, "parcels")
    for name, options in FILES.items():
        for key, value in options.items():
            spark.conf.set(f"spark.sql.parquet.{key}", value)
        write(spark, " union all ".join(row(n) for n in range(3)), name)


def write(spark: SparkSession, query: str, name: str) -> None:
    folder = Path(__file__).parent / name
    spark.sql(query).coalesce(1).write.mode("overwrite").parquet(str(folder))
    (part,) = folder.glob("part-*.parquet")
    part.rename(folder.with_suffix(".parquet"))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
