"""Train one run, or a sweep with -m: ``citycam train`` from a checkout. See python train.py --help."""

from citycam.doors import leave, needs_environment

with needs_environment():
    from citycam.cli.train import main

if __name__ == "__main__":
    leave(main())
