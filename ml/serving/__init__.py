"""The HTTP server that answers predictions; it knows neither training nor the cluster."""
