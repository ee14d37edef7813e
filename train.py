"""Train one run, or a sweep with -m: ``citycam train`` from a checkout. See python train.py --help."""

from citycam.cli.train import main
from citycam.doors import leave

if __name__ == "__main__":
    leave(main())
