"""The chart and what makes its generated files."""
