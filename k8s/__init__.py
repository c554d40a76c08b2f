"""How a person at a keyboard reaches a running Slipway: port-forwards, passwords, the demo."""
