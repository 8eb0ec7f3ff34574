"""The composition root: alone knows adapters by name, and turns settings into something that runs.

May import: everything below it. Start at assembly.py; running.py is the long-running agent.
"""
