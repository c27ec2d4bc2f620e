"""The only package that opens a socket: WebSocket and REST clients, their limits, and a loopback server."""
