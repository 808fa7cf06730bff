"""`arr-rpo <verb> ...`: each verb is a module beside this one, with a Hydra command line of its own (docs/commands.md)."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from arr_rpo.commands.cli.misspelt import meant

VERBS = {
    "train": "trains; goes on (resume=), sweeps (-m), studies (study=)",
    "evaluate": "measures a run (run=), a judge (task=judge), pictures of a benchmark (task=benchmark)",
    "report": "a study, a sweep or a run as one page, judge benches side by side (study=)",
    "rubrics": "writes, verifies, stores and exports rubrics",
    "refine": "generate, criticise, refine, without training",
    "generate": "draws for the official scorers of benchmarks",
    "export": "weights for other programs, with a model card",
    "plan": "will it fit? The memory that a policy takes",
    "probe": "what a judge's server can do",
}
PROGRAM, COMPLETION = "arr-rpo", ("-sc", "--shell-completion")


def main() -> None:
    """Hands the rest of the line to the verb, which says more with `--help`."""
    arguments = sys.argv[1:]
    program = PROGRAM
    if arguments and arguments[0] in COMPLETION:
        verb = _completed(arguments)
    else:
        verb, *arguments = arguments or ["--help"]
        program = f"{PROGRAM} {verb}"
    if verb in ("--help", "-h"):
        width = max(map(len, VERBS))
        verbs = (f"  {name:<{width}}  {does}" for name, does in VERBS.items())
        print(f"{PROGRAM} <verb> [--help] [key=value ...]\n", *verbs, sep="\n")
    elif verb in VERBS:
        sys.argv = [program, *arguments]
        import_module(f"arr_rpo.commands.{verb}").main()
    elif verb:
        print(f"error: {verb}: there is no such verb{meant(verb, list(VERBS))}; there are {', '.join(VERBS)}", file=sys.stderr)
        raise SystemExit(1)


def _completed(arguments: list[str]) -> str:
    """The verb of the line that a shell asks to complete (`-sc query=bash`), and leaves the rest of the line to it; verbs are
    completed here, which leaves nothing to do. What is installed for the shell is the same for all."""
    if not "".join(arguments[1:]).startswith("query="):
        return next(iter(VERBS))
    program, _, line = os.environ["COMP_LINE"].partition(" ")
    verb, space, rest = line.lstrip().partition(" ")
    os.environ["COMP_LINE"] = f"{program} {rest}"
    if not space:
        print(" ".join(name for name in VERBS if name.startswith(verb)))
    return verb if verb in VERBS and space else ""


if __name__ == "__main__":
    main()
