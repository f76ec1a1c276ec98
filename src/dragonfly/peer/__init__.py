"""The engine of every node, seed or daemon: minds inside, sockets and disk outside."""
