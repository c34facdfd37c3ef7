"""`python -m holdfast`: the commands of `holdfast.cli`."""

import sys

from .cli import main

sys.exit(main())
