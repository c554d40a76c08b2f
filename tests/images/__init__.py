"""The images, as the container engine has them."""
