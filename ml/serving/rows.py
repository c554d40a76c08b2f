"""The request that a model accepts, as a type made from the columns of its artifact."""

from collections.abc import Iterable
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

from ml.serving.inputs import FLOAT32_LIMIT, INFINITE
from ml.serving.manifest import ArtifactManifest, Column

# An integer must fit the model's 64 bits.
_INT64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
# A fraction must fit the 32 bits that the model computes with.
_FLOAT32 = Annotated[float, Field(gt=-FLOAT32_LIMIT, lt=FLOAT32_LIMIT)]
_PYTHON_TYPES: dict[str, Any] = {"int": _INT64, "float": _FLOAT32, "str": str, "bool": bool}
# Only fractions have limits that they must not reach.
_INFINITE_ERRORS = {"greater_than", "less_than"}
_MOST_NAMED = 20
# No guessing: the text "12" is not a number, and an unknown field is a mistake.
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def request_adapter(manifest: ArtifactManifest, max_rows: int) -> TypeAdapter[Any]:
    """Parser and JSON schema of a request: 1 to `max_rows` rows of the model's own columns.

    Typed dictionaries rather than models: a column may have any name at all.
    """
    row = TypedDict("Row", {c.name: _field(c) for c in manifest.columns})  # type: ignore[misc]
    row.__doc__ = f"What the model of {manifest.project} looks at to tell `{manifest.target}`."
    row.__pydantic_config__ = _STRICT  # type: ignore[attr-defined]
    example: Any = {"rows": [dict(sample) for sample in manifest.sample[:1]]}

    class PredictRequest(TypedDict):
        __pydantic_config__ = ConfigDict(  # type: ignore[misc]
            **_STRICT, json_schema_extra={"examples": [example]}
        )
        rows: Annotated[list[row], Field(min_length=1, max_length=max_rows)]

    PredictRequest.__doc__ = f"At most {max_rows} rows; the predictions keep their order."
    return TypeAdapter(PredictRequest)


def row_schema(manifest: ArtifactManifest) -> dict[str, Any]:
    """Return the JSON schema of one row, as it stands in the OpenAPI document."""
    schema = request_adapter(manifest, max_rows=1).json_schema()
    row: dict[str, Any] = schema["$defs"]["Row"]
    return row


def _field(column: Column) -> Any:  # noqa: ANN401 - a type made at run time has no type
    kind = _PYTHON_TYPES[column.type]
    return NotRequired[kind | None] if column.nullable else kind


def complaints(errors: Iterable[ErrorDetails]) -> list[dict[str, object]]:
    """Say which row and column is wrong and why, without repeating what was sent."""
    named = [_complaint(error) for error in errors]
    hidden = len(named) - _MOST_NAMED
    if hidden > 0:
        return [*named[:_MOST_NAMED], {"message": f"and {hidden} more"}]
    return named


def _complaint(error: ErrorDetails) -> dict[str, object]:
    place, told = error["loc"], {}
    if len(place) >= 2:
        told["row"] = place[1]
    if len(place) >= 3:
        told["column"] = str(place[2])[:64]  # an unknown field's name is the caller's own
    message = INFINITE if error["type"] in _INFINITE_ERRORS else error["msg"]
    return {**told, "message": message}
