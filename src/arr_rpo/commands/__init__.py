"""What users type: a module a verb (`__main__` lists them). The only place that knows Hydra."""

import logging

from arr_rpo.commands.cli.quiet import is_of_use

logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(is_of_use)  # it speaks when it is imported
