"""python generate.py benchmark=<name> prompts=<the benchmark's file> policy=<name>, or run=<run folder>"""

from arr_rpo.commands.generate import main

if __name__ == "__main__":
    main()
