"""The host's side of remote training: `python -m models.sft.host` answers one request of `models.sft.protocol`.

The request is a line of JSON on stdin; the bytes of a file or of a tar can follow it. Everything that a host keeps is
below one folder, the workdir:

    blobs/KEY/…        bases, each file under its name; KEY is a hash of their hashes
    code/…             the package `models`, one zip for each version
    jobs/NAME/…        job directories
    venv/ setup/       the virtual environment that `kdtui host setup` makes, and its log

Other users of the machine can neither read nor change any of it, whatever the umask is there.

It needs only Python 3.11, without any package, and changes only what a request names.
"""
