"""``python -m tinygrad_mha`` is the command ``tinygrad-mha``."""

import sys

from .cli import main

sys.exit(main())
