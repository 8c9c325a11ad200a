"""Which waiting job is tried next?"""
