"""The HTTP server of the daemon: it shows what is on the board, and takes one kind of order: look at the remote now.

server     uvicorn in a thread
app        the routes, and who may ask
hooks      signatures of GitHub, GitLab and Gitea
metrics    what Prometheus reads
status     the board as JSON
page       the board as a page
"""
