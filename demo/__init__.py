"""The demo runs a machine and a cloud on this computer, to try the data manager and to test it without an account.

Nothing here imports the data manager. The demo sees it only from outside: through the module's socket, and through
what reaches the cloud.
"""
