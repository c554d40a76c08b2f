"""Start the command line: `python -m ml <verb>`."""

from ml.cli import main

main()
