"""What half a dozen readers would look for anywhere in a file, looked for in one pass before they are asked."""

from relay.inspect.cms import PEM_BEGIN
from relay.inspect.item import Sign
from relay.inspect.openpgp import ARMOUR, ARMOUR_16
from relay.inspect.tar_archive import MAGIC as TAR
from relay.inspect.unreadable import RAR, SEVEN_ZIP
from relay.inspect.yara import OctetSearch
from relay.inspect.zip_layout import END

_STRINGS: dict[str, tuple[bytes, ...]] = {
    Sign.TAR: (TAR,),
    Sign.SEVEN_ZIP: (SEVEN_ZIP,),
    Sign.RAR: (RAR,),
    Sign.ARMOUR: (ARMOUR, *ARMOUR_16),
    Sign.PEM: (PEM_BEGIN,),
    Sign.ZIP_END: (END,),
}


class Signs(OctetSearch):
    """Names are those of `Sign`."""

    def __init__(self) -> None:
        super().__init__(_STRINGS)
