"""A version's recipe: what made features of raw tables when it was trained, kept with it.

`features()` and the rules of project.yaml change; a version goes on seeing what it has learnt from.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml.core.errors import BadInputError
from ml.core.project import Files, Project, Table
from ml.core.store import Store, sha256


class Recipe(BaseModel):
    """The part of a project that decides what a day's features are; `model` is its model.py."""

    model_config = ConfigDict(frozen=True)

    target: str
    timezone: str
    known_later: dict[str, list[str]]
    known_before: dict[str, list[str]] = Field(default_factory=dict)
    tables: dict[str, Table]
    model: str

    @classmethod
    def of(cls, project: Project) -> "Recipe":
        """Take the recipe of a project as it is now."""
        spec = project.spec
        return cls(
            target=spec.target,
            timezone=spec.timezone,
            known_later=spec.known_later,
            known_before=spec.known_before,
            tables=spec.tables,
            model=project.model_source.decode(),
        )

    def made(self, today: Project, folder: Path) -> Project:
        """Return the project as it was; its days, gate and monitoring stay today's."""
        model = folder / "model.py"
        model.write_text(self.model)
        kept = {name: getattr(self, name) for name in type(self).model_fields if name != "model"}
        spec = today.spec.model_copy(update=kept)
        files = Files(today.files.yaml, model, today.files.source)
        return replace(today, spec=spec, files=files)


def keep_recipe(store: Store, project: Project) -> str:
    """Publish a project's recipe, named by its digest; return its URI."""
    content = Recipe.of(project).model_dump_json(indent=1).encode()
    path = f"{project.name}/recipes/{sha256(content)}.json"
    store.create(path, content)
    return store.uri(path)


@contextmanager
def project_of(store: Store, uri: str, today: Project) -> Iterator[Project]:
    """Give the project whose recipe is at an address, or today's for a version without one.

    Raises BadInputError when the recipe is gone or is not what it was.
    """
    if not uri:
        yield today
        return
    with tempfile.TemporaryDirectory(prefix="slipway-recipe-") as folder:
        yield _read(store, uri).made(today, Path(folder))


def _read(store: Store, uri: str) -> Recipe:
    try:
        content = store.read(store.path(uri))
    except FileNotFoundError:
        raise BadInputError(f"{uri}, the recipe of a version, is gone: train anew") from None
    if f"{sha256(content)}.json" != uri.rsplit("/", 1)[-1]:
        raise BadInputError(f"{uri}, the recipe of a version, is damaged: train anew")
    try:
        return Recipe.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadInputError(f"{uri} is not a recipe: {first['msg']}") from error
