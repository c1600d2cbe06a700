"""How a plan is run: files that launchers and trainers read."""
