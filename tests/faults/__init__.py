"""These tests break things on purpose: processes, links, clouds, disks, clocks, files. README.md explains them."""
