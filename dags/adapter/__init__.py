"""From a stage to where it runs: the only code between the DAG files and the work in `ml`."""
