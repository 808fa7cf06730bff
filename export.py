"""python export.py run=<run folder> checkpoint=best"""

from arr_rpo.commands.export import main

if __name__ == "__main__":
    main()
