"""One stream of events; logs, metrics and traces derive from it."""
