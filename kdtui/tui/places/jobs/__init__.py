"""The place Jobs: trainings, and the hosts that they run on."""
