"""The capture settings of components, services and remotes, as people set them in Viam's app: the *cards*.

viam-server hands these settings only to its builtin data manager. But it keeps the machine's whole config in a
file, the *machine file*, which it replaces before it adds or changes a resource. `Adoption` reads the cards from
there. To *adopt* a card is to capture what it says. What was adopted last is *kept* in the capture folder, and
holds while the machine file can't be read: unreadable never means that nothing is to be captured.

Of the machine file, only capture settings are taken. Nothing else of it is kept, logged, quoted or shown. This
package does not decide what is captured: `config` merges the cards with the service's own `capture_methods`.
"""

from .adoption import LOOK_S, Adopted, Adoption
from .machine_file import MachineFile, UnknownMachineFileError

__all__ = ["LOOK_S", "Adopted", "Adoption", "MachineFile", "UnknownMachineFileError"]
