"""What is to be sent: what lies in the folders, and what goes first."""
