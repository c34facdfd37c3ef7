"""What hostile callers, components and clouds send, for tests and for the bench of the event loop's longest hold.

Everything here is made from a seeded `random.Random`, so that what was found once can be found again.
"""
