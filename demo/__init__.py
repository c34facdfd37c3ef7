"""A machine and a cloud on this computer, to try the data manager and to test it without an account.

Nothing here imports the data manager: what is shown and tested is seen from outside only, through the
module's socket and through what reaches the cloud.
"""
