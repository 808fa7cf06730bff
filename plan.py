"""python plan.py policy=<name>"""

from arr_rpo.commands.plan import main

if __name__ == "__main__":
    main()
