"""The REST API: a file per resource, each a `routes(...)` and the structs it answers with."""
