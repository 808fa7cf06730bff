"""python train.py experiment=t2i_rpo"""

from arr_rpo.commands.train import main

if __name__ == "__main__":
    main()
