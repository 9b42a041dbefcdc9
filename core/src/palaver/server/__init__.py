"""The server: WebSocket and HTTP on one port.

security   who may connect: Host, Origin, tokens and roles
outbox     the bounded way out of one connection
session    what one engine has open; it outlives a cut connection
handlers   what each message does
hub        all sessions, their resume windows and their end
websocket  one connection: first message, reading, closing
http       the HTTP routes
app        puts them together on a port
"""
