"""What every stage stands on: settings, stores, records, keys, and what a project says."""

__all__ = [
    "disk",
    "errors",
    "fingerprint",
    "job",
    "ledger",
    "project",
    "record",
    "settings",
    "store",
    "tables",
    "threads",
    "unforeseen",
    "users_code",
]
