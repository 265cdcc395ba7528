"""`python -m agentorch.cli`."""

import sys

from agentorch.cli import main

sys.exit(main())
