"""What the kits register: nothing but what a kit or a job may name that needs a daemon around it."""

from __future__ import annotations
