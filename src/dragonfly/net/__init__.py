"""Small shells around the kernel's network calls, shared by all faces."""
