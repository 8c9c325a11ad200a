"""The refusal of a resource manager."""

from __future__ import annotations

from ...kernel.errors import ComponentError


class ResourcesMissing(ComponentError):
    """A site cannot give a job what its resource_spec asks for now.

    Cause: other jobs hold it, or the site has less of it than is asked for; the message says which.

    Cure: wait for the jobs that are named, ask for less in the job's "resource_spec", or let the site offer more.
    """

    code = "SD-3081"
