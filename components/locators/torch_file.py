"""Which of the server's torch models take part in a cross-site evaluation? Those that its persistor has saved."""

from __future__ import annotations

from ...kernel.errors import ComponentError
from ...kernel.roles import ModelLocator
from ...kernel.shareable import Shareable
from ...kernel.wording import did_you_mean
from ..persistors.torch_file import PTFileModelPersistor

_SAVED_AS = {"server": "", "server_best": "best"}
"""Name in an evaluation → name it was saved under."""


class NoSuchModel(ComponentError):
    """A model was asked for that the locator does not know.

    Cause: a mistake in the workflow: it must ask `names()` first.

    Cure: use one of the names in the message.
    """

    code = "SD-3105"


class PTFileModelLocator(ModelLocator):
    """Finds the final and the best model where a torch persistor has saved them.

    Args:
        persistor: the one that saves them.
    """

    def __init__(self, persistor: PTFileModelPersistor) -> None:
        self.persistor = persistor

    def names(self) -> list[str]:
        return [name for name, saved in _SAVED_AS.items() if self.persistor.path(saved).is_file()]

    def locate(self, name: str) -> Shareable:
        """The weights of one model.

        Raises:
            NoSuchModel: there is none of this name.
            ModelFileUnreadable: its file is damaged.
        """
        if name not in self.names():
            raise NoSuchModel(f"there is no model {name!r}{did_you_mean(name, self.names())}")
        return self.persistor.read(_SAVED_AS[name])
