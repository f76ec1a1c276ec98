"""Bytes on the wire and back: no IO, no policy."""
