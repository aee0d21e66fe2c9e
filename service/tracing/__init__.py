"""OpenTelemetry: spans of requests and batches."""
