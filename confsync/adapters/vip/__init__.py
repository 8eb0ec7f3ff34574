"""The shared address: set for a short lease, announced, and elected by ucarp or keepalived.

Start at addresses.py; ucarp.py and keepalived.py are the elections. Nothing but addresses.py sets or
removes an address: whoever else did it would leave it behind when it is killed.
"""
