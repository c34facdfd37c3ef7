"""This package measures Holdfast: where possible on the real viam-server, and as ratios within one run."""
