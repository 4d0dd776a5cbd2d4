"""Running it: configuration, assembly, logs, metrics, HTTP."""
