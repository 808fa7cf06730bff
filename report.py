"""python report.py study=<folder of runs>"""

from arr_rpo.commands.report import main

if __name__ == "__main__":
    main()
