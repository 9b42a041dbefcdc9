"""A real game server, real players and a real Palaver for tests, all on this machine.

- `programs`: finds the engine's server and client, or says what is missing.
- `game`: a throwaway game with the mod in it, and Lua from Python while it runs.
- `players`: clients without a window that chat and listen.
- `screen`: a client with a window, on a screen that nobody sees.
- `gateway`: Palaver, in a thread or as a process, and servers that are none.
- `waiting`: how tests wait: for a thing to happen, never for time to pass.
"""
