"""Probe: exit 0 when MLflow answers a question that needs its database.

MLflow's own /health is a constant and never looks at the database.
"""

import base64
import http.client
import os
import sys


def main() -> int:
    """Ask for the default experiment as the stages' user; 0 is ready."""
    user = f"{os.environ['STAGES_USERNAME']}:{os.environ['STAGES_PASSWORD']}"
    headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}
    connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=4)
    try:
        connection.request("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", None, headers)
        answer = connection.getresponse()
    except OSError as error:
        print(f"MLflow does not answer: {error}")
        return 1
    print(f"MLflow answers {answer.status} {answer.reason}")
    return int(answer.status != 200)


if __name__ == "__main__":
    sys.exit(main())
