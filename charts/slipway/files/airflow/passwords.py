"""Write the password file of Airflow's simple auth manager.

The auth manager opens its file for writing, which a mounted Secret refuses, so an init container
writes a copy into the pod's own volume.
"""

import json
import os
from pathlib import Path


def main() -> None:
    """One user, from the environment, readable by this pod's user alone."""
    path = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    path.touch(mode=0o600)
    path.write_text(json.dumps({os.environ["ADMIN_USERNAME"]: os.environ["ADMIN_PASSWORD"]}))


if __name__ == "__main__":
    main()
