"""The control socket in the state directory: status, release, pause, resume. Start at server.py."""
