"""Where a manifest may be, in an object store or a folder, and one look whether it is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

_TOO_MANY, _BROKEN = 429, 500


class ManifestPlace(Protocol):
    """Somewhere a manifest may be."""

    def exists(self) -> bool:
        """Return whether it is there.

        Raises ConnectionError when a later look may tell, AirflowFailException when none will.
        """


def look_in(url: str, aws_conn_id: str) -> ManifestPlace:
    """Return the place an address means: an object in a store, or a file."""
    if url.startswith("s3://"):
        return _ObjectPlace(url, aws_conn_id)
    return _FilePlace(url)


class _FilePlace:
    def __init__(self, url: str) -> None:
        self.path = Path(url.removeprefix("file://"))

    def exists(self) -> bool:
        return self.path.exists()


class _ObjectPlace:
    def __init__(self, url: str, aws_conn_id: str) -> None:
        self.bucket, _, self.key = url.removeprefix("s3://").partition("/")
        self.aws_conn_id = aws_conn_id
        self.hook: S3Hook | None = None

    def exists(self) -> bool:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # heavy, and not for every parse
        from botocore.exceptions import BotoCoreError, ClientError

        self.hook = self.hook or S3Hook(aws_conn_id=self.aws_conn_id)
        try:
            return self.hook.head_object(self.key, self.bucket) is not None
        except (BotoCoreError, ClientError) as error:
            if _may_pass(error):
                raise ConnectionError(str(error)) from error
            raise AirflowFailException(self._refusal(error)) from error

    def _refusal(self, error: Exception) -> str:
        # Who may not list a bucket is told 403, not 404, of whatever is not there yet.
        return (
            f"the store refuses to look for s3://{self.bucket}/{self.key}: {error}: check the "
            f"login of the connection `{self.aws_conn_id}`, and that it may list and read the "
            f"bucket `{self.bucket}`, then clear this task"
        )


def _may_pass(error: Exception) -> bool:
    """Return whether an error of the S3 client is an outage, which ends, and not a refusal."""
    from botocore.exceptions import (
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    if isinstance(error, ClientError):
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status == _TOO_MANY or status >= _BROKEN
    # These are about what was asked for, and with which login: the store was never called.
    return not isinstance(
        error, (NoCredentialsError, PartialCredentialsError, ParamValidationError)
    )
