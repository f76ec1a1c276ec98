"""Composition root: the only place where the parts are put together."""
