"""How full the disk is, and what is deleted when."""
