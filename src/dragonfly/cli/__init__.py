"""The commands. Thin: parse, call, print, exit code."""
