"""Demo: a small internet on loopback, two installations in it, and a tour of the seven steps."""

from estafeta.sim.demo.run import main as main
