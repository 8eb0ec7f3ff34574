"""The control socket in the state directory: status, release, pause, resume. Start at server.py.

One request and one reply a connection, each one line of JSON:

    {"command": "release", "args": {"service": "web"}}
    {"ok": true, ...}    or    {"ok": false, "error": ..., "remedy": ..., "exit_code": 69}
"""
