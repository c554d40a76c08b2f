"""How the model in use does, what to do about it, and the pages that say so."""

__all__: list[str] = []
