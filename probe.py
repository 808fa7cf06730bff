"""python probe.py judge=server judge.model.base_url=... judge.model.model=..."""

from arr_rpo.commands.probe import main

if __name__ == "__main__":
    main()
