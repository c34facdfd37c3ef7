"""Makes `python -m holdfast` run the commands of `holdfast.cli`."""

import sys

from .cli import main

sys.exit(main())
