"""What the port `EventLog` promises, whatever keeps the log: an adapter's test file subclasses `EventLogContract`.

The subclass gives the fixture `open_log`. Names are fresh in every test, so that all may share one log.
"""

from tests.contract.groups_contract import GroupsContract
from tests.contract.log_fixtures import Open
from tests.contract.records_contract import RecordsContract

__all__ = ["EventLogContract", "Open"]


class EventLogContract(RecordsContract, GroupsContract):
    """The contract."""
