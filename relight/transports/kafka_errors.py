"""What Kafka's errors mean for the caller: each becomes one of the port's, with a message that a person can act on."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors

from relight.transports.connection import KafkaConnection
from relight.transports.port import Fenced, LogError, Refused, TooLarge, TopicMissing, Unavailable

_FENCED = (
    errors.ProducerFencedError,
    errors.InvalidProducerEpochError,
    errors.InvalidProducerIdMappingError,
    errors.UnknownProducerIdError,
    errors.InvalidTxnStateError,
    errors.TransactionCoordinatorFencedError,
    errors.TransactionAbortableError,
    errors.TransactionAbortedError,
    errors.FencedInstanceIdError,
    errors.FencedMemberEpochError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.RebalanceInProgressError,
    errors.CommitFailedError,
)
_DENIED = (errors.AuthorizationError, errors.SaslAuthenticationFailedError)
_DISALLOWED = (
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
    errors.SecurityDisabledError,
    errors.UnsupportedVersionError,
    errors.KafkaConfigurationError,
    errors.PolicyViolationError,
    errors.InvalidTopicError,
    errors.InvalidPartitionsError,
    errors.InvalidReplicationFactorError,
    errors.InvalidConfigurationError,
    errors.InvalidGroupIdError,
    errors.InvalidSessionTimeoutError,
    errors.InvalidTransactionTimeoutError,
    errors.InconsistentGroupProtocolError,
    errors.GroupMaxSizeReachedError,
)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
_MISSING = (errors.UnknownTopicOrPartitionError, errors.UnknownTopicIdError)


@contextmanager
def translated(connection: KafkaConnection, doing: str) -> Iterator[None]:
    """Raise the port's errors for Kafka's. `doing` says what was being done: `append to relight.logs`."""
    try:
        yield
    except errors.KafkaError as error:
        raise meaning(error, connection, doing) from error


def meaning(error: errors.KafkaError, connection: KafkaConnection, doing: str) -> LogError:
    """Return what an error of Kafka's means for the caller."""
    what = f"Kafka at {connection.servers}: cannot {doing}"
    if isinstance(error, _FENCED):
        return Fenced(f"{what}: another member has this one's name or its partitions ({error})")
    if isinstance(error, _DENIED):
        who = f"user {connection.username!r}" if connection.username else "this client"
        return Refused(f"{what}: {who} is not let in or not allowed ({error}). Check user, password and ACLs")
    if isinstance(error, _DISALLOWED):
        return Refused(f"{what}: {error}")
    if isinstance(error, _TOO_LARGE):
        return TooLarge(f"{what}: a record is larger than its topic's max.message.bytes ({error})")
    if isinstance(error, _MISSING):
        return TopicMissing(f"{what}: the topic is not there ({error}). `relight setup` creates the topics")
    # A transactional request that timed out is told in words only, by an error of no kind.
    if error.retriable or errors.RequestTimedOutError.__name__ in str(error):
        return Unavailable(f"{what}: no answer within {connection.timeout_s:g} s ({error})")
    return LogError(f"{what}: {error}")


def unreachable(error: errors.KafkaError, connection: KafkaConnection) -> LogError:
    """Return why no connection came about. kafka-python says only that it took too long, so this looks for itself."""
    if not isinstance(error, errors.KafkaTimeoutError):
        return meaning(error, connection, "connect")
    what = f"Kafka at {connection.servers}: cannot connect"
    try:
        _shake_hands(connection)
    except ssl.SSLError as reason:
        return Refused(f"{what}: TLS failed ({reason}). Check ca_file, cert_file and security_protocol")
    except OSError as reason:
        return Unavailable(f"{what}: {reason}. Check that it runs, and the address")
    advice = f"Check that it is no other service, and that it speaks {connection.security_protocol}"
    return Unavailable(f"{what}: it accepts connections, but does not answer. {advice}")


def _shake_hands(connection: KafkaConnection) -> None:
    """Connect to the first address. Raises: OSError, of which ssl.SSLError is one."""
    host, _, port = connection.bootstrap[0].rpartition(":")
    host = host.strip("[]")
    with socket.create_connection((host, int(port)), timeout=connection.timeout_s) as plain:
        if connection.uses_tls:
            with connection.tls().wrap_socket(plain, server_hostname=host):
                pass
