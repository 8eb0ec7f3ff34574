"""Each folder is one outside thing behind a Protocol of confsync.ports; none imports another.

May import: ports, core, domain, errors, faults. Third-party clients are touched in one module each.
"""
