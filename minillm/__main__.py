"""``python -m minillm`` is the command ``minillm``."""

from minillm.cli import main

raise SystemExit(main())
