"""Draw maps of trained models: ``citycam explain`` from a checkout. See python explain.py --help."""

from citycam.cli.explain import main
from citycam.doors import leave

if __name__ == "__main__":
    leave(main())
