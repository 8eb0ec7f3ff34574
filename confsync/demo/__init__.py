"""`confsync demo`: the main job, performed on toy backends with a real HAProxy.

May import: errors, and of all else only the public contract: it writes a settings file and starts
`confsync run`, as an operator would. Start at main.py, then scenario.py.
"""
