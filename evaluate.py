"""python evaluate.py run=<run folder>"""

from arr_rpo.commands.evaluate import main

if __name__ == "__main__":
    main()
