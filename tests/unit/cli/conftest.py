"""The same daemon and origin as the library's tests."""

from unit.client.conftest import content, data_dir, origin

__all__ = ["content", "data_dir", "origin"]
