"""Certificate files: the operator's, and the checked copies that HAProxy loads."""
