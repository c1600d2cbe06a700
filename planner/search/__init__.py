"""The search: which plans exist, which are feasible, which are best."""
