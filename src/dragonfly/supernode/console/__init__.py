"""The console: one self-contained page."""
