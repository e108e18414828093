"""Running the services of a mesh as child processes."""
