"""python refine.py policy=shapes judge=shapes refinement=redraw prompts=shapes/heldout"""

from arr_rpo.commands.refine import main

if __name__ == "__main__":
    main()
